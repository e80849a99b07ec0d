"""A world as files: traffic, accounts, events, labels, and what they were made from.

`scenario.json` is written last, so that its presence says the rest is whole.
"""

from __future__ import annotations

import gzip
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import msgspec
import orjson
import zstandard

from .days import DAY_S
from .world import World

SUFFIXES = {"zst": "traffic.jsonl.zst", "gz": "traffic.jsonl.gz", "jsonl": "traffic.jsonl"}
BLOCK_LINES = 256
PROGRESS_EVERY_S = 0.5
Progress = Callable[[int, float], None]
"""Told the exchanges so far and the share of the scenario's time, 0..1."""


def write_world(
    world: World,
    out: Path,
    *,
    form: str = "zst",
    with_kinds: bool = False,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """All files of `world` into the folder `out`; what `scenario.json` says. `with_kinds` adds
    `kinds.jsonl`, the kind of task of each line, for the training of classifiers.

    Raises OSError where a file cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "scenario.json").unlink(missing_ok=True)
    for name in SUFFIXES.values():
        (out / name).unlink(missing_ok=True)
    counts = {
        "accounts": write_lines(out / "accounts.jsonl", world.accounts()),
        "events": write_lines(out / "events.jsonl", world.events()),
        "labels": write_lines(out / "labels.jsonl", world.labels()),
    }
    for name in ("line-labels.jsonl", "kinds.jsonl"):
        (out / name).unlink(missing_ok=True)
    with ExitStack() as files:
        traffic = files.enter_context(opened(out / SUFFIXES[form], form))
        labels = kinds = None
        if world.pools:
            labels = files.enter_context((out / "line-labels.jsonl").open("wb"))
        if with_kinds:
            kinds = files.enter_context((out / "kinds.jsonl").open("wb"))
        tally = _write_traffic(world, traffic, labels, kinds, on_progress)
    summary = describe(world) | {"counts": counts | tally}
    (out / "scenario.json").write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
    return summary


def stream_world(world: World, to: IO[bytes], on_progress: Progress | None = None) -> int:
    """The traffic alone, as JSON Lines; the number of exchanges."""
    total = 0
    for block in _blocks(world, on_progress):
        to.write(b"".join(block.lines))
        total += len(block.lines)
    to.flush()
    return total


def describe(world: World) -> dict[str, Any]:
    """What was asked for: enough to make the same world again, to which reactions add nothing."""
    plan = world.plan
    return {
        "scenario": plan.scenario.model_dump(exclude={"campaigns": {"__all__": {"reacts"}}}),
        "population": plan.population.name,
        "campaigns": [
            {"id": c.id, "file": c.raw.name, "scale": c.scale, "knobs": c.knobs.model_dump()}
            for c in plan.campaigns
        ],
        "seed": plan.seed,
        "scale": plan.scale,
        "days": plan.days,
        "start": plan.start_s,
        "has_real_content": plan.data_dir is not None,
    }


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> int:
    count = 0
    with path.open("wb") as file:
        for count, record in enumerate(records, 1):  # noqa: B007 - the number is the answer
            file.write(orjson.dumps(record) + b"\n")
    return count


@dataclass(slots=True)
class _Block:
    """Encoded lines, the kind of each, and (1-based place, campaign) of pool accounts' lines."""

    lines: list[bytes] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    marks: list[tuple[int, str | None]] = field(default_factory=list)


def _write_traffic(
    world: World,
    traffic: IO[bytes],
    labels: IO[bytes] | None,
    kinds: IO[bytes] | None,
    on_progress: Progress | None,
) -> dict[str, Any]:
    """`labels` gets one line for each exchange of a campaign's accounts, `campaign` null where
    it is not the campaign's."""
    by_campaign: Counter[str] = Counter()
    total = 0
    for block in _blocks(world, on_progress):
        traffic.write(b"".join(block.lines))
        for at, campaign in block.marks:
            by_campaign["others" if campaign is None else campaign] += 1
            if labels is not None:
                labels.write(orjson.dumps({"line": total + at, "campaign": campaign}) + b"\n")
        if kinds is not None:
            for at, kind in enumerate(block.kinds, total + 1):
                kinds.write(b'{"line":%d,"kind":"%b"}\n' % (at, kind.encode()))
        total += len(block.lines)
    return {"exchanges": total, "on_campaign_accounts": dict(sorted(by_campaign.items()))}


def _blocks(world: World, on_progress: Progress | None) -> Iterator[_Block]:
    encode = msgspec.json.Encoder().encode
    pooled = world.pool_account_ids()
    start_s, span_s = world.plan.start_s, world.plan.days * DAY_S
    block, done, told = _Block(), 0, time.monotonic()
    for request, campaign, kind in world.exchanges_with_kind():
        block.lines.append(encode(request) + b"\n")
        block.kinds.append(kind)
        if request.account_id in pooled:
            block.marks.append((len(block.lines), campaign))
        if len(block.lines) < BLOCK_LINES:
            continue
        yield block
        done += len(block.lines)
        if on_progress is not None and time.monotonic() - told > PROGRESS_EVERY_S:
            told = time.monotonic()
            on_progress(done, (request.ts - start_s) / span_s)
        block = _Block()
    if block.lines:
        yield block


@contextmanager
def opened(path: Path, form: str) -> Iterator[IO[bytes]]:
    """A file to write lines to. Archives carry neither name nor time, so that equal worlds are
    equal to the byte."""
    with path.open("wb") as file:
        if form == "zst":
            with zstandard.ZstdCompressor(level=1).stream_writer(file, closefd=False) as lines:
                yield cast(IO[bytes], lines)
        elif form == "gz":
            with gzip.GzipFile("", "wb", 1, file, mtime=0) as archive:
                yield cast(IO[bytes], archive)
        else:
            yield file
