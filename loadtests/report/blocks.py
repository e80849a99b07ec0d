"""Files of JSON Lines in blocks of whole lines, unpacked by name: read fast, decoded whole."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import zstandard

from ...errors import UsageError

BLOCK_BYTES = 4 * 1024 * 1024
MAX_LINE_BYTES = 64 * 1024 * 1024


def read_blocks(path: Path) -> Iterator[bytes]:
    """Blocks that end at the end of a line; a last line without one counts as well.

    Raises UsageError for a file that cannot be opened, is cut short or is not what its name says.
    """
    rest = b""
    try:
        with open_binary(path) as file:
            while block := file.read(BLOCK_BYTES):
                whole, newline, tail = block.rpartition(b"\n")
                if newline:
                    yield rest + whole + newline
                    rest = tail
                else:
                    rest += tail
                if len(rest) > MAX_LINE_BYTES:
                    raise UsageError(f"{path}: a line is over {MAX_LINE_BYTES >> 20} MiB long")
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise UsageError(f"{path}: cannot be read to its end: {error}") from None
    if rest:
        yield rest


def open_binary(path: Path) -> IO[bytes]:
    """Plain, `.gz` or `.zst`."""
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    file = path.open("rb")
    if path.suffix == ".zst":
        reader = zstandard.ZstdDecompressor().stream_reader(
            file, read_across_frames=True, closefd=True
        )
        return cast(IO[bytes], reader)
    return file
