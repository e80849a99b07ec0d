"""Notes since when an account is asked for a verification. Off the path: nobody waits for it.

Bounded: `MAX_WAITING` notes at a time (one more is left to the account's next request), and as
many accounts remembered as noted lately. What the store does not take is tried at the next ask.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from ..engine import PolicySource
from ..errors import StoreError
from ..friction.asking import ask_in, asked
from ..friction.record import EMPTY
from ..model import Ask, Exchange
from ..stores.verification import RETRIES, VerificationBook

log = logging.getLogger("hydragate.verify")

MAX_WAITING = 1_024
MAX_REMEMBERED = 16_384


class AskKeeper:
    """A `Recorder`. `count` is told of each ask that was noted: (ask)."""

    def __init__(
        self, book: VerificationBook, policies: PolicySource, count: Callable[[Ask], None]
    ) -> None:
        self._book = book
        self._policies = policies
        self._count = count
        self._noted: OrderedDict[str, int] = OrderedDict()  # account → its version then
        self._tasks: set[asyncio.Task[None]] = set()

    def record(self, exchange: Exchange) -> None:
        decision = exchange.decision
        if not decision.findings:
            return
        subject = decision.subject
        ask = ask_in(decision, self._policies.current)
        if ask is None or subject is None or asked(subject, exchange.facts.received_us) is None:
            return
        if self._noted.get(subject.account_id) == subject.version:
            return
        if len(self._tasks) >= MAX_WAITING:
            return
        self._remember(subject.account_id, subject.version)
        note = self._note(subject.account_id, ask, exchange.facts.received_us)
        task = asyncio.get_running_loop().create_task(note)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self, timeout_s: float = 2.0) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def _remember(self, account_id: str, version: int) -> None:
        self._noted[account_id] = version
        self._noted.move_to_end(account_id)
        if len(self._noted) > MAX_REMEMBERED:
            self._noted.popitem(last=False)

    async def _note(self, account_id: str, ask: Ask, at_us: int) -> None:
        try:
            for _ in range(RETRIES):
                entry = await self._book.read(account_id)
                changed = None if entry is None else asked(entry.subject, at_us)
                if entry is None or changed is None:
                    return
                if await self._book.commit(entry, entry.record or EMPTY, changed):
                    self._count(ask)
                    return
        except StoreError as error:
            self._noted.pop(account_id, None)
            log.warning("an ask could not be noted: %s", error)
