"""SIGHUP: look at the files now. No process of ours ends by it.

A terminal that closes sends it as well, and nothing tells the two apart: the traffic that others
send through a gateway must not depend on the terminal of whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal


def outlive_hangups() -> None:
    """From now on, and until a `Hangup` listens: the system's default would be to end."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class Hangup:
    """The signal, as something to wait for beside a clock."""

    def __init__(self) -> None:
        self._came = asyncio.Event()

    def listen(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._came.set)

    async def within(self, seconds: float) -> bool:
        """Whether one came since the last call, as soon as it does; False after `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._came.wait()
        came = self._came.is_set()
        self._came.clear()
        return came
