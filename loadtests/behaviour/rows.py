"""Windows of a world's accounts, day by day, as a gateway would have kept them.

A replay under a policy that refuses nothing keeps the windows and scores every request; at each
midnight and at the end the window of every account that was active that day becomes a row. Labels
are joined afterwards: the replay never sees them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import msgspec

from ...classifiers.load import ModelHolder
from ...classifiers.reader import TaskReader
from ...commands.replay_inputs import load_scenario
from ...core.window import DAY_S
from ...model import SECOND_US, RequestFacts
from ...policy.load import PolicyHolder
from ...ports import Directory
from ...stores.memory import MemoryStore
from ...workers.replay_files import ReplayPlan, ReplayRun
from ...workers.replay_hook import ReplayedRequest
from ...workers.traffic import LoggedResponse
from ...workers.world_feed import WorldFeed


class Row(msgspec.Struct, array_like=True):
    """One account at the end of one day. `campaign` None: an innocent of class `who`. `age_days`
    is the account's, None where nobody knows it; `window` in base64."""

    scenario: str
    account: str
    campaign: str | None
    who: str
    at_s: int
    age_days: int | None
    window: bytes


class DaySampler:
    """A `ReplayHook` that links nothing and looks at every window once a day."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int | None, bytes]] = []

    def on_request(self, asked: ReplayedRequest) -> None: ...

    def on_response(
        self, number: int, now_us: int, facts: RequestFacts, response: LoggedResponse
    ) -> None: ...

    async def on_tick(self, now_us: int, directory: Directory) -> None:
        store, now_s = cast(MemoryStore, directory), now_us // SECOND_US
        async for subject in store.accounts():
            window = store.window(subject.account_id)
            if window is None or now_s - int.from_bytes(window[:4], "little") > DAY_S:
                continue
            age_days = None
            if subject.created_us is not None:
                age_days = (now_s - subject.created_us // SECOND_US) // DAY_S
            self.seen.append((subject.account_id, now_s - 1, age_days, window))

    def clusters(self) -> Iterable[Mapping[str, Any]]:
        return ()

    def snapshot(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None: ...


def rows_of(
    scenario: Path, policy: Path, *, scale: float, days: float | None, seed: int | None
) -> Iterator[Row]:
    """Every row of one world."""
    make_world = partial(load_scenario, scenario, scale=scale, days=days, seed=seed)
    labels = {str(one["account_id"]): one for one in make_world().labels()}
    sampler = DaySampler()
    with (
        TemporaryDirectory() as out,
        WorldFeed(make_world, name=str(scenario), identity={}) as feed,
    ):
        plan = ReplayPlan(
            feed=feed,
            accounts=("accounts", feed.accounts),
            events=("events", feed.events),
            out=Path(out),
            store=MemoryStore(),
            policies=PolicyHolder(policy),
            lag_us=DAY_S * SECOND_US,
            hook=sampler,
            tasks=TaskReader(ModelHolder(), always=True),
            keeps_windows=True,
        )
        asyncio.run(ReplayRun(plan).run())
    for account, at_s, age_days, window in sampler.seen:
        label = labels[account]
        campaign = None if label["campaign"] is None else str(label["campaign"])
        yield Row(scenario.stem, account, campaign, str(label["class"]), at_s, age_days, window)


def write_rows(rows: Iterable[Row], path: Path) -> int:
    encode = msgspec.json.Encoder().encode
    count = 0
    with path.open("wb") as file:
        for row in rows:
            file.write(encode(row) + b"\n")
            count += 1
    return count


def read_rows(paths: Iterable[Path]) -> list[Row]:
    decode = msgspec.json.Decoder(Row).decode
    return [decode(line) for path in paths for line in path.read_bytes().splitlines()]
