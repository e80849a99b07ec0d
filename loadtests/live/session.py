"""A live run from end to end: accounts, shots, drivers, answers, results."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import orjson

from ...policy.load import load_policy
from ..processes import GatewayProcess, gateway, standin
from .driver import drive_all, progress_file, read_answers
from .results import reasons_in_log, write_results
from .spool import Spool, spool
from .window import Window, World, accounts_with_keys, campaign_of_lines

MOST_EXCHANGES = 2_000_000
Progress = Callable[[int, int], None]
"""Told the answers so far and how many there will be."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A window of a world, ready to be sent."""

    window: Window
    spool: Spool
    accounts: Path
    out: Path


def prepare(
    world: World, window: Window, out: Path, *, processes: int = 2, most: int = MOST_EXCHANGES
) -> Prepared:
    """Write accounts with fresh keys, labels, and the shots of every process, into `out`.

    `out` is emptied first. Raises UsageError for a window without exchanges, or with too many.
    """
    shutil.rmtree(out, ignore_errors=True)
    (out / "spool").mkdir(parents=True)
    seed = os.urandom(32)  # keys that no other run has
    accounts = out / "accounts.jsonl"
    accounts.touch(mode=0o600)
    _write_lines(accounts, accounts_with_keys(world, window, seed=seed, now_s=time.time()))
    _write_lines(out / "labels.jsonl", world.labels())
    shots = spool(world, window, out / "spool", processes=processes, seed=seed, most=most)
    return Prepared(window, shots, accounts, out)


@dataclass(frozen=True, slots=True)
class Servers:
    """What runs: the stand-in's URL, and the gateway before it."""

    upstream: str
    gateway: GatewayProcess


@contextlib.contextmanager
def serving(prepared: Prepared, policy: Path, *, time_scale: float) -> Iterator[Servers]:
    """A stand-in model API and a gateway before it that knows the accounts."""
    config = prepared.out / "gateway.yaml"
    # The driver stands where a load balancer would, and says who the client is.
    config.write_text('trusted_proxies: ["127.0.0.1/32"]\n')
    with (
        standin("--time-scale", str(time_scale)) as upstream,
        gateway(
            prepared.out / "data",
            *("--upstream", upstream, "--policy", str(policy)),
            *("--accounts", str(prepared.accounts), "--config", str(config)),
        ) as server,
    ):
        yield Servers(upstream, server)


def send(
    prepared: Prepared,
    url: str,
    *,
    log_folder: Path | None,
    policy: Path,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Drive the gateway at `url` and write the results; returns their summary.

    `log_folder` is the gateway's decision log, from which refusals get the name of their rule;
    `policy` is what the gateway was started with.
    """
    compiled = load_policy(policy)
    with _watched(prepared.spool, on_progress):
        load = drive_all(prepared.spool, url, seconds=prepared.window.seconds)
    answers = list(read_answers(prepared.spool))
    wanted = frozenset(answer.decision for answer in answers if answer.decision is not None)
    reasons = reasons_in_log(log_folder, wanted) if log_folder is not None else {}
    labelled = _campaigns(prepared.out / "labels.jsonl")
    _write_lines(
        prepared.out / "line-labels.jsonl",
        campaign_of_lines(
            (answer.campaign for answer in answers),
            (answer.account_id for answer in answers),
            labelled,
        ),
    )
    summary = write_results(
        answers,
        prepared.out,
        window=prepared.window,
        load=load,
        reasons=reasons,
        policy={"name": compiled.name, "revision": compiled.revision},
    )
    shutil.rmtree(prepared.out / "spool")
    return summary


@contextlib.contextmanager
def _watched(shots: Spool, on_progress: Progress | None) -> Iterator[None]:
    """Tell the progress twice a second for as long as the block lasts."""
    if on_progress is None:
        yield
        return
    is_over = Event()

    def watch() -> None:
        while not is_over.wait(0.5):
            on_progress(sum(map(_done, shots.files)), shots.count)

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
        on_progress(shots.count, shots.count)
    finally:
        is_over.set()
        watcher.join()


def _done(file: Path) -> int:
    try:
        return int(progress_file(file).read_text() or 0)
    except FileNotFoundError:
        return 0


def _campaigns(labels: Path) -> dict[str, str | None]:
    records = map(orjson.loads, labels.read_bytes().splitlines())
    return {record["account_id"]: record.get("campaign") for record in records}


def _write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with path.open("wb") as file:
        for record in records:
            file.write(orjson.dumps(record) + b"\n")
