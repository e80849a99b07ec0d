"""Bounds the log of a child that writes to a file we gave it, and goes on writing to it.

The child keeps its descriptor, so the file is copied and emptied in place, not renamed. It must
have been opened for appending. What the child writes between the two steps, microseconds apart, is
lost.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

MAX_LOG_BYTES = 1024 * 1024


def bound_log(path: Path, *, max_bytes: int = MAX_LOG_BYTES) -> None:
    """When `path` is larger than `max_bytes`, its newest part becomes `<path>.1` and it is emptied.

    `<path>.1` is never larger than `max_bytes`. Never raises: on a full disk the log is emptied all
    the same.
    """
    with contextlib.suppress(OSError), path.open("r+b") as log:
        size = log.seek(0, os.SEEK_END)
        if size <= max_bytes:
            return
        with contextlib.suppress(OSError), path.with_name(path.name + ".1").open("wb") as former:
            log.seek(size - max_bytes)
            log.readline()  # what is left of a line that was cut
            shutil.copyfileobj(log, former)
        log.truncate(0)
