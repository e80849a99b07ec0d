"""Refusal echo: what one account was refused comes from another within seconds.

Only the account that brings it is implicated, and only where nobody else asks the same: a public
suite that many run at the same hour echoes nobody. An SDK that tries again does so on its own
account, which counts for nothing. Nobody can be framed: the content of a refused request is known
to its sender alone, and a single echo puts nobody into a ring. Innocent causes: an agency or an
aggregator that fails over between its own keys; one payer explains those.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from ..model import SECOND_US
from .evidence import Block, joined_family
from .rings import Rings

ECHO_US = 30 * SECOND_US
ALONE_US = 600 * SECOND_US  # so long nobody else may have asked it
MAX_REFUSED = 65_536
MAX_ASKED = 131_072

joined_family(
    "echo",
    Block.RELAY,
    "Accounts that repeat, within seconds, what others of them were refused, mutually.",
)


class Echo:
    """Joins what was refused with what is asked."""

    def __init__(self) -> None:
        self.rings = Rings()
        # The oldest first: of a plain dictionary the first costs as much as went before it.
        self._refused = OrderedDict[str, tuple[str, int]]()
        self._asked = OrderedDict[str, tuple[str | None, int]]()  # None: by several

    def __len__(self) -> int:
        return len(self._refused) + len(self._asked)

    def refuse(self, account_id: str, content: str, at_us: int) -> None:
        self._refused.pop(content, None)
        self._refused[content] = account_id, at_us
        if len(self._refused) > MAX_REFUSED:
            self._refused.popitem(last=False)

    def ask(self, account_id: str, content: str, at_us: int) -> None:
        before, asked_us = self._asked.pop(content, (account_id, at_us))
        refused = self._refused.get(content)
        is_recent = at_us - asked_us <= ALONE_US
        if not is_recent:
            before = account_id
        if refused is None:
            by = account_id if before == account_id else None
        else:
            by = self._echo(account_id, content, before, refused, at_us)
        self._asked[content] = by, at_us
        if len(self._asked) > MAX_ASKED:
            self._asked.popitem(last=False)

    def _echo(
        self,
        account_id: str,
        content: str,
        before: str | None,
        refused: tuple[str, int],
        at_us: int,
    ) -> str | None:
        """Who is known to ask this now; None where several did without having been refused."""
        refused_id, refused_us = refused
        if before not in (account_id, refused_id):
            return None
        if account_id != refused_id:
            if not 0 <= at_us - refused_us <= ECHO_US:
                return None
            self.rings.cross(account_id, refused_id, content)
        return account_id

    def forget_before(self, now_us: int) -> None:
        while self._refused and _is_older(self._refused.values(), now_us - ECHO_US):
            self._refused.popitem(last=False)
        while self._asked and _is_older(self._asked.values(), now_us - ALONE_US):
            self._asked.popitem(last=False)

    def pack(self) -> dict[str, Any]:
        return {
            "rings": self.rings.pack(),
            "refused": [(content, *rest) for content, rest in self._refused.items()],
            "asked": [(content, *rest) for content, rest in self._asked.items()],
        }

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Echo:
        one = cls()
        one.rings = Rings.unpack(packed["rings"])
        one._refused.update((content, (by, at_us)) for content, by, at_us in packed["refused"])
        one._asked.update((content, (by, at_us)) for content, by, at_us in packed["asked"])
        return one


def _is_older(noted: Iterable[tuple[str | None, int]], than_us: int) -> bool:
    """Whether the first of them is."""
    return next(iter(noted))[1] < than_us
