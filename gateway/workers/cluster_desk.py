"""The gateway's desk for questions and orders about clusters: on paper, audited, answered.

Whoever leads the linker answers, here or on another machine. An order is written into the audit
log before it is sent, and its outcome after.
"""

from __future__ import annotations

import secrets
from typing import Any, Protocol

from ..model import SECOND_US
from ..ports import Clock
from ..stores import RedisStore
from ..stores.mailbox import Letter, LinkerStatus, Mailbox, StatusBoard
from ..stores.stream import EVIDENCE_MESSAGES, START, MessageLog
from .linker_orders import ACTIONS

QUESTION_S = 10.0
ORDER_S = 30.0


class Audit(Protocol):
    def __call__(
        self, action: str, target: str, *, by: str, reason: str, outcome: str, order: str
    ) -> None:
        """Raises OSError when it cannot be written."""
        ...


class NoAnswerError(Exception):
    """No linker answered in time; the message says whether the order still holds."""


class ClusterDesk:
    """One gateway's. Methods raise StoreError, and OSError where the audit log takes nothing."""

    def __init__(
        self,
        store: RedisStore,
        *,
        clock: Clock,
        audit: Audit,
        question_s: float = QUESTION_S,
        order_s: float = ORDER_S,
    ) -> None:
        self._mailbox = Mailbox(store)
        self._board = StatusBoard(store)
        self._evidence = MessageLog(store, "evidence", most=EVIDENCE_MESSAGES)
        self._clock = clock
        self._audit = audit
        self._question_s = question_s
        self._order_s = order_s

    async def ask(self, action: str, **args: Any) -> dict[str, Any]:
        """The answer; `error` and `code` in it when there is none. Raises NoAnswerError."""
        letter = self._letter(action, "", "", args, self._question_s)
        await self._mailbox.send(letter)
        answer = await self._mailbox.wait(letter, self._question_s)
        if answer is None:
            raise NoAnswerError(
                "no linker answers: what it last published stays in force; "
                "see docs/runbooks/linker-lag.md"
            )
        return answer

    async def order(
        self, action: str, target: str, *, by: str, reason: str, **args: Any
    ) -> dict[str, Any]:
        """As `ask`, for what changes something."""
        letter = self._letter(action, by, reason, args, self._order_s)
        self._note(letter, target, "asked")
        await self._mailbox.send(letter)
        answer = await self._mailbox.wait(letter, self._order_s)
        if answer is None:
            self._note(letter, target, "unanswered")
            raise NoAnswerError(
                "no linker answers yet: the order is kept and holds once one leads again; "
                "do not repeat it"
            )
        self._note(letter, target, "refused" if "error" in answer else "done")
        return answer

    async def status(self) -> tuple[LinkerStatus | None, float]:
        """(what the leader last said, seconds that the oldest unread evidence has waited)."""
        status = await self._board.read()
        lag_s = await self._evidence.lag_s(START if status is None else status.position)
        return status, lag_s

    def _note(self, letter: Letter, target: str, outcome: str) -> None:
        self._audit(
            f"cluster.{letter.action}",
            target,
            by=letter.by,
            reason=letter.reason,
            outcome=outcome,
            order=letter.id,
        )

    def _letter(
        self, action: str, by: str, reason: str, args: dict[str, Any], wait_s: float
    ) -> Letter:
        assert action in ACTIONS
        now_us = self._clock.now_us()
        until_us = now_us + int(wait_s * SECOND_US)
        return Letter(secrets.token_hex(12), action, by, reason, now_us, until_us, args)
