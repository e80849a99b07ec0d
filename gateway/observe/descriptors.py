"""How near a process is to the most files and connections that it may have open.

At the limit the event loop closes new connections without a word: callers see a reset, and nothing
else tells of it.
"""

from __future__ import annotations

import errno
import logging
import os
import resource

from .process_log import Occasionally


class DescriptorWatch:
    """Asks the kernel for the lowest free number, which costs the same however many are open. Where
    numbers below it have been given back it says less than is open, near the limit hardly so."""

    def __init__(self) -> None:
        self._complaint = Occasionally(logging.getLogger("hydragate.worker"))

    def used(self) -> float:
        """Share of the limit, 0 to 1; 0 where there is none. Complains at 1."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if most == resource.RLIM_INFINITY:
            return 0.0
        try:
            lowest = os.open(os.devnull, os.O_RDONLY)
        except OSError as error:
            if error.errno == errno.EMFILE:
                self._complaint.warn(
                    f"all {most} file descriptors are in use: new connections are cut off; "
                    "raise the limit (ulimit -n, LimitNOFILE=), or spread callers over more workers"
                )
                return 1.0
            return 0.0  # the system's own table is full, which is not this process's limit
        os.close(lowest)
        return min(1.0, lowest / most)
