"""Evidence recorded once and linked as often as there are questions, with every family or without.

    python -m hydragate.loadtests.linked_again record split-10.yaml --days 2 --out DIR
    python -m hydragate.loadtests.linked_again link DIR/split-10 --without turns

`record` replays a scenario under a policy with nobody linking, or (`--linked`) with a linker whose
clusters the policy refuses, and keeps what every exchange told a linker that listens. `link` tells
it to a linker again, at the same instants. What is printed is the share of exchanges of a
campaign's accounts that came before the account was in a suspected cluster, and which innocents
ever were in one. That is close to what a replay serves and no replay: what a refusal changes in
later evidence is not in it, or as it was for the linker of the record. It takes a fraction of the
time.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from ..commands.replay_inputs import Asked
from ..core.keyed import KeyedHash
from ..linking.evidence import Key, all_families
from ..linking.instants import TURN
from ..linking.linker import Evidence, Linker
from ..linking.traces import ASKED, ISSUED, REFUSED, RETURNED, TALK
from ..model import SECOND_US
from ..ports import Directory
from ..workers.linking_hook import LinkingHook
from ..workers.replay import REPLAY_SECRET
from ..workers.replay_hook import ReplayedRequest
from .listened import listen

RECORD = "evidence.msgpack"
LENGTH_BYTES = 4
CHUNK_BYTES = 1 << 20
LINKED = ("suspected", "confirmed")
TRACES_OF = {"provenance": (TALK, RETURNED, ISSUED), "echo": (ASKED, REFUSED), "turns": (TURN,)}
"""Traces that only this family reads, left out with it."""


class Told(msgspec.Struct, array_like=True, gc=False):
    """One thing that happened: an exchange of `account_id` where `keys` is None, else evidence."""

    account_id: str
    at_us: int
    keys: list[tuple[str, str]] | None = None
    is_exempt: bool = False
    created_us: int | None = None


class Recorder(LinkingHook):
    """Writes down what a linker would be told; `links` says whether one is."""

    def __init__(self, file: IO[bytes], *, links: bool) -> None:
        super().__init__(KeyedHash(REPLAY_SECRET))
        self._links = links
        self._file = file
        self._encoder = msgspec.msgpack.Encoder()

    def on_request(self, asked: ReplayedRequest) -> None:
        if asked.decision.subject is not None:
            self._write(Told(asked.decision.subject.account_id, asked.now_us))
        super().on_request(asked)

    def observe(self, evidence: Evidence) -> None:
        keys = [(key.family, key.value) for key in evidence.keys]
        self._write(
            Told(evidence.account_id, evidence.at_us, keys, evidence.is_exempt, evidence.created_us)
        )
        if self._links:
            super().observe(evidence)

    async def on_tick(self, now_us: int, directory: Directory) -> None:
        if self._links:
            await super().on_tick(now_us, directory)

    def _write(self, told: Told) -> None:
        packed = self._encoder.encode(told)
        self._file.write(len(packed).to_bytes(LENGTH_BYTES, "big") + packed)


async def record(asked: Asked, policy: Path, out: Path, *, links: bool = False) -> None:
    """Writes RECORD and the labels into `out`."""
    with (out / RECORD).open("wb") as file:
        await listen(asked, policy, out, Recorder(file, links=links), labels_dir=out)


def recorded(folder: Path) -> Iterator[Told]:
    """Everything that was written down, in order."""
    decode = msgspec.msgpack.Decoder(Told).decode
    with (folder / RECORD).open("rb", buffering=CHUNK_BYTES) as file:
        while length := file.read(LENGTH_BYTES):
            yield decode(file.read(int.from_bytes(length, "big")))


@dataclass(slots=True)
class Linked:
    """`since_us`: account → when it was first in a suspected cluster. `sent` counts exchanges of
    each account, `free` those of them that came before. `clusters`: accounts of each in the end,
    those that were suspected."""

    since_us: dict[str, int] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    free: Counter[str] = field(default_factory=Counter)
    clusters: list[tuple[str, ...]] = field(default_factory=list)


def link(told: Iterable[Told], *, without: Iterable[str] = (), lag_s: float = 10.0) -> Linked:
    """Tell a new linker, with a tick every `lag_s` of event time in which something was told."""
    left_out = set(without) | {trace for name in without for trace in TRACES_OF.get(name, ())}
    linker, found = Linker(), Linked()
    lag_us, due_us = round(lag_s * SECOND_US), 0
    for one in told:
        if one.at_us >= due_us:
            _note(linker, due_us, found)
            due_us = (one.at_us // lag_us + 1) * lag_us
        if one.keys is None:
            found.sent[one.account_id] += 1
            found.free[one.account_id] += one.account_id not in found.since_us
            continue
        keys = tuple(Key(*pair) for pair in one.keys if pair[0] not in left_out)
        if keys:
            evidence = Evidence(one.account_id, one.at_us, keys, one.is_exempt, one.created_us)
            linker.observe(evidence)
    _note(linker, due_us, found)
    found.clusters = [view.accounts for view in linker.clusters() if view.state in LINKED]
    return found


def _note(linker: Linker, now_us: int, found: Linked) -> None:
    for said in linker.tick(now_us):
        if said.state in LINKED:
            found.since_us.setdefault(said.account_id, now_us)


def labels_of(folder: Path) -> dict[str, tuple[str | None, str]]:
    """Account → (campaign or None, class)."""
    lines = map(json.loads, (folder / "labels.jsonl").read_text().splitlines())
    return {one["account_id"]: (one["campaign"], str(one["class"])) for one in lines}


def figures(found: Linked, labels: Mapping[str, tuple[str | None, str]]) -> dict[str, Any]:
    """`before_linked`: by campaign, the share of its accounts' exchanges that came before.
    `accused`: innocents that ever were in a suspected cluster, by class."""
    sent, free = Counter[str](), Counter[str]()
    for account, count in found.sent.items():
        campaign, _ = labels.get(account, (None, ""))
        if campaign is not None:
            sent[campaign] += count
            free[campaign] += found.free[account]
    accused = Counter(
        labels[account][1]
        for account in found.since_us
        if account in labels and labels[account][0] is None
    )
    innocents = sum(1 for campaign, _ in labels.values() if campaign is None)
    return {
        "before_linked": {name: free[name] / count for name, count in sorted(sent.items())},
        "innocents": innocents,
        "accused": dict(sorted(accused.items())),
    }


@click.group()
def main() -> None:
    """Record the evidence of scenarios, and link it again."""


@main.command("record")
@click.argument("scenarios", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--policy", type=click.Path(exists=True, path_type=Path), default="policies/enforce")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--days", type=float)
@click.option("--scale", type=float, default=1.0, show_default=True)
@click.option("--seed", type=int)
@click.option("--linked", is_flag=True, help="Link, so that the policy refuses what is found.")
def record_command(
    scenarios: tuple[Path, ...],
    policy: Path,
    out: Path,
    days: float | None,
    scale: float,
    seed: int | None,
    linked: bool,
) -> None:
    """Replay each scenario; a folder each in --out."""
    for scenario in scenarios:
        folder = out / (scenario.stem if seed is None else f"{scenario.stem}-{seed}")
        folder.mkdir(parents=True, exist_ok=True)
        asked = Asked(None, None, None, scenario, scale, days, seed)
        asyncio.run(record(asked, policy, folder, links=linked))
        click.echo(str(folder))


@main.command("link")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--without", multiple=True, type=click.Choice(sorted(all_families())))
@click.option("--lag-s", type=float, default=10.0, show_default=True)
def link_command(folders: tuple[Path, ...], without: tuple[str, ...], lag_s: float) -> None:
    """Link what was recorded: one line of figures for each folder."""
    for folder in folders:
        found = link(recorded(folder), without=without, lag_s=lag_s)
        click.echo(json.dumps({"scenario": folder.name, **figures(found, labels_of(folder))}))


if __name__ == "__main__":
    main()
