"""Traces of exchanges in, rings of accounts out: the families of the relay block.

Traces wait until they are settled and are then taken in order of time, whatever order they came
in. Law: within one settling the order of arrival changes nothing. Exempt accounts (verified
organisations, contracts that cover sharing) neither bring nor give.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

from ..model import SECOND_US
from .echo import Echo
from .evidence import Key
from .provenance import Provenance
from .traces import ASKED, ISSUED, REFUSED, RETURNED, TALK

MAX_WAITING = 262_144  # exchanges between two settlings; of more, the first are dropped
LATE_US = SECOND_US  # workers send what they have a quarter of a second later
# At one instant what is given comes before what is brought.
_ORDER = {ISSUED: 0, REFUSED: 1, TALK: 2, RETURNED: 3, ASKED: 4}
Waiting = tuple[int, str, list[tuple[str, str]]]


class Relay:
    """Joins traces; see the module's docstring."""

    def __init__(self) -> None:
        self.provenance = Provenance()
        self.echo = Echo()
        self.dropped = 0
        self._waiting: list[Waiting] = []

    def note(self, account_id: str, at_us: int, traces: Iterable[Key]) -> None:
        if len(self._waiting) >= MAX_WAITING:
            half = MAX_WAITING // 2
            self.dropped += half
            del self._waiting[:half]
        pairs = [(key.family, key.value) for key in traces]
        self._waiting.append((at_us, account_id, pairs))

    def settle(self, now_us: int) -> Iterator[tuple[str, Key]]:
        """(account, key) of all who joined a ring since last. What is younger than `LATE_US` waits
        for the next time."""
        due_us = now_us - LATE_US
        waiting, self._waiting = self._waiting, [w for w in self._waiting if w[0] > due_us]
        for at_us, account_id, pairs in sorted(w for w in waiting if w[0] <= due_us):
            self._take(account_id, at_us, pairs)
        self.provenance.forget_before(now_us)
        self.echo.forget_before(now_us)
        for family, rings in (("provenance", self.provenance.rings), ("echo", self.echo.rings)):
            for account_id, ring in rings.settle():
                yield account_id, Key(family, blake2b(ring.encode(), digest_size=8).hexdigest())

    def _take(self, account_id: str, at_us: int, pairs: list[tuple[str, str]]) -> None:
        talk = ""
        if len(pairs) > 1:
            pairs = sorted(pairs, key=lambda pair: _ORDER[pair[0]])
        for trace, value in pairs:
            if trace == ISSUED:
                self.provenance.issue(account_id, value, at_us)
            elif trace == REFUSED:
                self.echo.refuse(account_id, value, at_us)
            elif trace == TALK:
                talk = value
            elif trace == RETURNED:
                self.provenance.bring(account_id, value, talk or value, at_us)
            else:
                self.echo.ask(account_id, value, at_us)

    def pack(self) -> dict[str, Any]:
        return {
            "provenance": self.provenance.pack(),
            "echo": self.echo.pack(),
            "waiting": self._waiting,
            "dropped": self.dropped,
        }

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Relay:
        relay = cls()
        relay.provenance = Provenance.unpack(packed["provenance"])
        relay.echo = Echo.unpack(packed["echo"])
        relay.dropped = packed["dropped"]
        for at_us, account_id, pairs in packed["waiting"]:
            relay._waiting.append((at_us, account_id, [(one, value) for one, value in pairs]))
        return relay
