"""A scenario as a feed: its traffic is made in a process of its own and never touches a file.

The child sends frames over a pipe, each a kind and a batch of JSON Lines: the accounts, then the
events, then the traffic, then the end. The pipe is bounded, so a maker that is faster than the
replay waits. Labels never come this way: the child writes them beside the results, where the
replay does not look.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import msgspec
import orjson

from .feeds import FailedFeedError
from .traffic import LoggedRequest

BATCH_BYTES = 256 * 1024
ACCOUNTS, EVENTS, TRAFFIC, END, FAILED = b"a", b"e", b"t", b"z", b"x"
_encode = msgspec.json.Encoder().encode


class World(Protocol):
    """What a scenario makes, the same each time."""

    def accounts(self) -> Iterable[Mapping[str, Any]]: ...
    def events(self) -> Iterable[Mapping[str, Any]]: ...
    def exchanges(self) -> Iterable[tuple[LoggedRequest, str | None]]:
        """In order of time, each with the campaign that it belongs to."""
        ...

    def labels(self) -> Iterable[Mapping[str, Any]]: ...


class WorldFeed:
    """The traffic of a world. `make_world` crosses a process boundary, so it must be picklable.

    `identity` is what makes two worlds equal: scenario, scale, days, seed. With `labels_dir` the
    child leaves `labels.jsonl` and `line-labels.jsonl.gz` there.
    """

    def __init__(
        self,
        make_world: Callable[[], World],
        *,
        name: str,
        identity: Mapping[str, Any],
        labels_dir: Path | None = None,
    ) -> None:
        self.name = name
        self._make_world = make_world
        self._identity = dict(identity)
        self._labels_dir = labels_dir
        self._frames: Iterator[tuple[bytes, bytes]] = iter(())
        self._next: tuple[bytes, bytes] = (b"", b"")
        self._process: multiprocessing.process.BaseProcess | None = None

    def identity(self) -> dict[str, Any]:
        return {"kind": "world", **self._identity}

    def __enter__(self) -> WorldFeed:
        """Start the maker. What it sends must be taken in order: accounts, events, lines."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        self._process = context.Process(
            target=make_frames, args=(self._make_world, theirs, self._labels_dir), daemon=True
        )
        self._process.start()
        theirs.close()
        self._frames = _frames(ours, self.name)
        self._step()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None and self._process.is_alive():
            self._process.terminate()
        if self._process is not None:
            self._process.join(10)
        self._frames = iter(())

    def accounts(self) -> Iterator[bytes]:
        yield from self._of(ACCOUNTS)

    def events(self) -> Iterator[bytes]:
        for _ in self._of(ACCOUNTS):  # whoever wanted them has taken them
            pass
        yield from self._of(EVENTS)

    def lines(self) -> Iterator[bytes]:
        for _ in self.events():
            pass
        yield from self._of(TRAFFIC)

    def _of(self, kind: bytes) -> Iterator[bytes]:
        while self._next[0] == kind:
            yield from io.BytesIO(self._next[1])
            self._step()

    def _step(self) -> None:
        self._next = next(self._frames, (END, b""))


def _frames(pipe: Connection, name: str) -> Iterator[tuple[bytes, bytes]]:
    """Frames up to the end; raises FailedFeedError when the maker died or failed."""
    try:
        while True:
            frame = pipe.recv_bytes()
            kind, payload = frame[:1], frame[1:]
            if kind == FAILED:
                raise FailedFeedError(f"{name}: {payload.decode()}")
            if kind == END:
                return
            yield kind, payload
    except (EOFError, OSError):
        raise FailedFeedError(f"{name}: the process that makes the traffic died") from None
    finally:
        pipe.close()


# ── in the child ─────────────────────────────────────────────────────────────────────────────


def make_frames(make_world: Callable[[], World], pipe: Connection, labels_dir: Path | None) -> None:
    """Everything that the world has, then the end. Quiet when nobody reads any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    with contextlib.suppress(BrokenPipeError), pipe:
        try:
            _make(make_world(), pipe, labels_dir)
        except BrokenPipeError:
            raise
        except Exception as error:
            pipe.send_bytes(FAILED + f"{type(error).__name__}: {error}".encode())


def _make(world: World, pipe: Connection, labels_dir: Path | None) -> None:
    for kind, records in ((ACCOUNTS, world.accounts()), (EVENTS, world.events())):
        _send_batches(pipe, kind, (orjson.dumps(r) + b"\n" for r in records))
    if labels_dir is None:
        _send_batches(pipe, TRAFFIC, (traffic_line(r) for r, _ in world.exchanges()))
    else:
        with (labels_dir / "labels.jsonl").open("wb") as file:
            file.writelines(orjson.dumps(label) + b"\n" for label in world.labels())
        _send_with_labels(pipe, world, labels_dir / "line-labels.jsonl.gz")
    pipe.send_bytes(END)


def _send_with_labels(pipe: Connection, world: World, path: Path) -> None:
    """Lines, while those of a campaign are noted; a line that is not named belongs to none."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as labels:

        def lines() -> Iterator[bytes]:
            for number, (request, campaign) in enumerate(world.exchanges(), 1):
                if campaign is not None:
                    labels.write(b'{"line":%d,"campaign":%b}\n' % (number, orjson.dumps(campaign)))
                yield traffic_line(request)

        _send_batches(pipe, TRAFFIC, lines())
    os.replace(part, path)


def traffic_line(request: LoggedRequest) -> bytes:
    """One JSON line; a body that was written over several lines is put on one."""
    line = _encode(request)
    return (msgspec.json.format(line, indent=-1) if b"\n" in line else line) + b"\n"


def _send_batches(pipe: Connection, kind: bytes, lines: Iterable[bytes]) -> None:
    batch, size = [kind], 0
    for line in lines:
        batch.append(line)
        size += len(line)
        if size >= BATCH_BYTES:
            pipe.send_bytes(b"".join(batch))
            batch, size = [kind], 0
    if size:
        pipe.send_bytes(b"".join(batch))
