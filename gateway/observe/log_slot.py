"""Which log is whose, where processes come and go without anyone who numbers them.

A process id in a file's name would leave a log behind with every restart, which no later process
knows as its own, packs or deletes.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from typing import IO

MAX_SLOTS = 256
_kept: list[IO[bytes]] = []  # a lock holds for as long as its file is open


def take_slot(folder: Path, *, most: int = MAX_SLOTS) -> str:
    """`app0`, or the first of that kind that no living process has taken in `folder`.

    It is ours until the process ends. Beyond `most` processes, or where files cannot be locked, a
    name of the process's own, whose old files then stay.
    """
    for number in range(most):
        slot = f"app{number}"
        try:
            lock = (folder / f"decisions-{slot}.lock").open("ab")
        except OSError:
            break
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        except OSError:
            lock.close()
            break
        _kept.append(lock)
        return slot
    slot = f"pid{os.getpid()}"
    logging.getLogger("hydragate.log").warning(
        "%s: no number is free for the decision log; %s is used, and its files are kept for ever",
        *(folder, slot),
    )
    return slot
