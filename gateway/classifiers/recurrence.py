"""How much a request is like the same caller's latest ones: the same template, the same beginning.

Bounded: eight requests a credential, and the credentials that were active last. It is the memory
of one process; what it came to stands in the decision log with the other features.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from .model import Feature

FEATURES = (
    Feature("repeats_template", "has the system prompt or tools of the caller's requests before"),
    Feature("repeats_beginning", "begins as the caller's requests before"),
    Feature("changes_template", "has another system prompt than the caller's requests before"),
    Feature("is_recurring", "comes from a caller that has asked several times"),
)
KEPT = 8
HASH_BYTES = 4
MAX_CALLERS = 16_384  # about 250 bytes each

_NONE = bytes(len(FEATURES))
_MORE = bytes((0, *range(2, KEPT + 2)))  # levels of counts: the first one counts twice

Recent = tuple[bytes, bytes]
"""Hashes of the latest templates and beginnings, the latest first."""


class Recurrence:
    """What each caller has asked lately."""

    def __init__(self, most: int = MAX_CALLERS) -> None:
        self._recent: OrderedDict[str, Recent] = OrderedDict()
        self._most = most

    def levels(self, caller: str | None, template: int, beginning: int) -> bytes:
        """0..9 for each of `FEATURES`, and the request is remembered. A `template` of 0: none."""
        if caller is None:
            return _NONE
        templates, beginnings = self._recent.pop(caller, (b"", b""))
        one = template.to_bytes(HASH_BYTES, "little")
        other = beginning.to_bytes(HASH_BYTES, "little")
        known = len(templates) // HASH_BYTES
        same = templates.count(one) if template else 0
        found = bytes(
            (
                _MORE[same],
                _MORE[beginnings.count(other)],
                _MORE[known - templates.count(one)],
                _MORE[known],
            )
        )
        most = KEPT * HASH_BYTES
        self._recent[caller] = ((one + templates)[:most], (other + beginnings)[:most])
        if len(self._recent) > self._most:
            self._recent.popitem(last=False)
        return found

    def snapshot(self) -> list[tuple[str, bytes, bytes]]:
        """Everything, to go on elsewhere."""
        return [(caller, *recent) for caller, recent in self._recent.items()]

    def restore(self, state: Iterable[tuple[str, bytes, bytes]]) -> None:
        """Become what `state` was."""
        self._recent = OrderedDict((caller, (one, other)) for caller, one, other in state)
