"""The part of a world that is sent: from some hour of it, for some seconds of real time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ...errors import UsageError
from ...workers.traffic import LoggedRequest

KEY_PREFIX = "sk-live-"


class World(Protocol):
    """What a scenario gives: see `loadtests/worlds`."""

    def accounts(self) -> Iterator[dict[str, Any]]:
        """Accounts v1 of those who are there at the start."""
        ...

    def events(self) -> Iterator[dict[str, Any]]:
        """What happens to accounts, by time."""
        ...

    def exchanges(self) -> Iterator[tuple[LoggedRequest, str | None]]:
        """Every exchange by time, with its campaign."""
        ...

    def labels(self) -> Iterator[dict[str, Any]]:
        """Campaign and class of every account."""
        ...


def load_scenario(scenario: Path, *, scale: float) -> tuple[World, float]:
    """The world of a scenario file, and when it begins (Unix seconds).

    Raises UsageError where this installation makes no worlds.
    """
    try:
        module = import_module("..worlds.world", __package__)
    except ImportError as error:
        raise UsageError(f"scenarios cannot be made into worlds here: {error}") from None
    world = module.load_world(scenario, scale=scale)
    return world, float(world.plan.start_s)


@dataclass(frozen=True, slots=True)
class Window:
    """`seconds` of real time from `start_s` (Unix seconds of the world).

    `compression` world seconds pass in each real one; above 1 limits see rates that the world does
    not have, and whoever reports the run says so.
    """

    start_s: float
    seconds: float
    compression: float = 1.0

    @property
    def end_s(self) -> float:
        """In the world's time."""
        return self.start_s + self.seconds * self.compression

    def due_s(self, ts: float) -> float:
        """Real seconds from the start of the run."""
        return (ts - self.start_s) / self.compression

    def exchanges(self, world: World) -> Iterator[tuple[LoggedRequest, str | None]]:
        """Those inside, in order; what has no body to send is left out."""
        for request, campaign in world.exchanges():
            if request.ts >= self.end_s:
                return
            if request.ts >= self.start_s and bytes(request.body) != b"null":
                yield request, campaign


def key_of(seed: bytes, account_id: str, key_id: str | None) -> str:
    """The secret that stands for a key of the world: the same in every process."""
    text = f"{account_id}\n{key_id or ''}".encode()
    return KEY_PREFIX + hashlib.blake2b(text, key=seed, digest_size=20).hexdigest()


def accounts_with_keys(
    world: World, window: Window, *, seed: bytes, now_s: float
) -> Iterator[dict[str, Any]]:
    """Accounts v1 for a live gateway: everybody who is there by the end of the window.

    The world's accounts are as old now as they are in it, which is what rules on age look at.
    """
    older_s = now_s - window.start_s
    for record in _everybody(world, window):
        keys = [key_of(seed, record["account_id"], key) for key in record.get("key_ids") or [None]]
        aged = dict(record, keys=keys)
        if record.get("created_at") is not None:
            aged["created_at"] = int(record["created_at"] + older_s)
        del aged["key_ids"]
        yield aged


def _everybody(world: World, window: Window) -> Iterator[dict[str, Any]]:
    for record in world.accounts():
        yield {"key_ids": [], **record}
    for event in world.events():
        if event["ts"] >= window.end_s:
            return
        if event["event"] == "created":
            kept = {name: value for name, value in event.items() if name not in ("ts", "event")}
            yield {"key_ids": [], **kept}


def campaign_of_lines(
    campaigns: Iterable[str | None], accounts: Iterable[str], labelled: Mapping[str, str | None]
) -> Iterator[dict[str, Any]]:
    """Line labels of the exchanges whose campaign is not simply that of their account."""
    for line, (campaign, account) in enumerate(zip(campaigns, accounts, strict=True), 1):
        if labelled.get(account) != campaign:
            yield {"line": line, "campaign": campaign}
