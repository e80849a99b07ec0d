"""Where a replay's lines come from: a file, standard input, or a process that makes them.

Every feed gives raw lines in order and can be opened again at its beginning, which is how a
resumed replay finds its place.
"""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Protocol, cast

import zstandard

from ..errors import HydragateError, UsageError
from ..observe.zstd_file import ZstdFile
from .traffic import TOO_LONG

MAX_LINE_BYTES = 64 * 1024 * 1024
READ_BYTES = 1 << 20
HEAD_BYTES = 1 << 20


class BrokenFeedError(HydragateError):
    """A log ended before its end, such as a truncated archive; what came before it counts."""


class FailedFeedError(HydragateError):
    """What makes the lines failed: there is no saying what is missing."""


class Feed(Protocol):
    """One source of lines."""

    @property
    def name(self) -> str:
        """Stands for the feed in messages."""
        ...

    def identity(self) -> dict[str, Any]:
        """Equal for two openings of the same lines, for `--resume`."""
        ...

    def lines(self) -> Iterator[bytes]:
        """Every line from the first; `TOO_LONG` stands for one over the bound. Raises
        BrokenFeedError after the last line of a feed that broke off."""
        ...


class FileFeed:
    """A log file, unpacked by its name. Raises UsageError when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)

    def identity(self) -> dict[str, Any]:
        """Size and a hash of the first MiB: telling two logs apart must not cost a whole read."""
        try:
            with self._path.open("rb") as file:
                head = blake2b(file.read(HEAD_BYTES), digest_size=16).hexdigest()
            return {"kind": "file", "bytes": self._path.stat().st_size, "head": head}
        except OSError as error:
            raise UsageError(f"{self._path}: cannot be read: {error.strerror}") from None

    def lines(self) -> Iterator[bytes]:
        with open_log(self._path) as file:
            yield from lines_of(file)


class StreamFeed:
    """Standard input: `--traffic -`."""

    name = "standard input"

    def identity(self) -> dict[str, Any]:
        return {"kind": "stream"}

    def lines(self) -> Iterator[bytes]:
        yield from lines_of(sys.stdin.buffer)


def open_log(path: Path) -> IO[bytes]:
    """The file's lines, decompressed by its name. Raises UsageError."""
    try:
        if path.suffix == ".gz":
            return cast(IO[bytes], gzip.open(path, "rb"))  # more buffer would lose more at a break
        if path.suffix == ".zst":
            return io.BufferedReader(ZstdFile(path.open("rb")), buffer_size=READ_BYTES)
        return path.open("rb", buffering=READ_BYTES)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def lines_of(file: IO[bytes], most_bytes: int = MAX_LINE_BYTES) -> Iterator[bytes]:
    try:
        while line := file.readline(most_bytes):
            if len(line) < most_bytes or line.endswith(b"\n"):
                yield line
            else:
                _skip_rest(file, most_bytes)
                yield TOO_LONG
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise BrokenFeedError(f"the archive is broken here: {error}") from None


def _skip_rest(file: IO[bytes], most_bytes: int) -> None:
    while (rest := file.readline(most_bytes)) and not rest.endswith(b"\n"):
        pass
