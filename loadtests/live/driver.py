"""One driver process: sends its shots when they are due, and writes down what came back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from ..driver import LoadResult, Outcome, Shot, drive, run_many
from .spool import Spool, read_spool

REPORT_EVERY = 64
# From the processes' start to the first shot: time for all of them to be there.
HEAD_START_S = 3.0
CONNECTIONS = 512
ANSWER_TIMEOUT_S = 60.0


class Answered(msgspec.Struct, array_like=True):
    """What became of one shot: `status` 0 and an `error` where nothing came back."""

    number: int
    due_s: float
    account_id: str
    campaign: str | None
    status: int
    decision: str | None = None
    asks_to_verify: bool = False
    error: str | None = None


def drive_all(spool: Spool, url: str, *, seconds: float) -> LoadResult:
    """Send a spool with a process for each of its files; answers lie beside them.

    Bounded: `seconds` of shots, and at most `ANSWER_TIMEOUT_S` for the last of them.
    """
    job = partial(
        _drive_one,
        files=[str(file) for file in spool.files],
        url=url,
        begin_at_s=time.time() + HEAD_START_S,
        seconds=seconds,
    )
    most_s = HEAD_START_S + seconds + ANSWER_TIMEOUT_S + 30
    return run_many(job, processes=len(spool.files), timeout_s=most_s)


def answers_file(shots: Path) -> Path:
    """Where the answers to a file of shots are written."""
    return shots.with_name(shots.name.replace("shots-", "answers-"))


def progress_file(shots: Path) -> Path:
    """How many answers there are so far, as text."""
    return shots.with_name(shots.name.replace("shots-", "progress-"))


def read_answers(spool: Spool) -> Iterator[Answered]:
    """Every answer, by the number of its shot."""
    decoder = msgspec.json.Decoder(Answered)
    found: list[Answered] = []
    for file in spool.files:
        found += decoder.decode_lines(answers_file(file).read_bytes())
    return iter(sorted(found, key=lambda answer: answer.number))


def _drive_one(
    number: int, *, files: list[str], url: str, begin_at_s: float, seconds: float
) -> LoadResult:
    return uvloop.run(_drive(Path(files[number]), url, begin_at_s, seconds))


async def _drive(file: Path, url: str, begin_at_s: float, seconds: float) -> LoadResult:
    encode = msgspec.json.Encoder().encode
    progress = progress_file(file)
    count = 0
    with answers_file(file).open("wb") as answers:

        def on_result(shot: Shot, outcome: Outcome) -> None:
            nonlocal count
            answers.write(encode(_answered(shot, outcome)) + b"\n")
            count += 1
            if count % REPORT_EVERY == 0:
                progress.write_text(str(count))

        time.sleep(max(0.0, begin_at_s - time.time()))  # noqa: ASYNC251 - nothing else runs yet
        return await drive(
            url,
            _shots(file),
            connections=CONNECTIONS,
            timeout_s=ANSWER_TIMEOUT_S,
            deadline_s=seconds,
            keeps_body=True,
            on_result=on_result,
        )


def _shots(file: Path) -> Iterator[Shot]:
    encode = msgspec.json.Encoder().encode
    for spooled in read_spool(file):
        wire, spooled.wire = spooled.wire, b""
        yield Shot(spooled.due_s, wire, tag=encode(spooled).decode())


def _answered(shot: Shot, outcome: Outcome) -> Answered:
    number, due_s, account_id, campaign, _ = msgspec.json.decode(shot.tag)
    decision = dict(outcome.headers).get(b"x-hydragate-decision")
    return Answered(
        number,
        due_s,
        account_id,
        campaign,
        outcome.status,
        None if decision is None else decision.decode("latin-1"),
        b"verification_required" in outcome.body if outcome.status == 403 else False,
        outcome.error,
    )
