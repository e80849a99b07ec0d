"""Lines of plain, gzip and zstd files."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import zstandard

from ..errors import UsageError


def lines_of(path: Path) -> Iterator[bytes]:
    """Raises UsageError where it cannot be read."""
    try:
        with path.open("rb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield from unpacked
            elif path.suffix == ".zst":
                yield from io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw))
            else:
                yield from raw
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
