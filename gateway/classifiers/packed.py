"""All scores' sums at once: one whole number holds a fixed-point sum for each head.

A request has a dozen features and nine scores: as floats that is a hundred multiplications in the
interpreter, as fields of one long integer a dozen. It is exact too: whole numbers add up to the
same on every machine and in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from math import tanh
from operator import getitem
from struct import Struct

from .model import MAX_LOGIT, ONE, LinearModel, ModelError
from .structure import FULL

FIELD_BYTES = 8
UNIT = 1_000_000 * FULL  # a logit; a level is a ninth of a feature
_BITS = 8 * FIELD_BYTES
# Well inside the field, and a float holds every whole number up to twice as much.
_HALF = 1 << 52
_HALF_SCORE = 0.5 * ONE
_ROUNDED_HALF = _HALF_SCORE + 0.5
_SCORES = tuple([score / ONE for score in range(ONE + 1)])
_PER_FIELD = 0.5 / UNIT
_FROM = _PER_FIELD * _HALF
MAX_SUM = _HALF // UNIT - 1


class PackedSum:
    """Sums logits of the model's `heads`, in that order, from levels of 0..9."""

    __slots__ = ("_size", "_start", "_steps", "_unpack")

    def __init__(self, model: LinearModel, heads: Sequence[str]) -> None:
        """Raises ModelError where sums could leave their fields: weights in the millions."""
        places = [model.heads.index(head) for head in heads]
        largest = sum(max(map(abs, column)) for column in (model.start, *model.columns))
        if largest > MAX_SUM:
            raise ModelError(f"model {model.version}: its weights add up to over {MAX_SUM}")
        self._size = FIELD_BYTES * len(places)
        self._unpack = Struct(f"<{len(places)}Q").unpack
        # Half of each field on top, so that no field is ever below zero and borrows.
        halves = _packed([_HALF] * len(places))
        self._start = halves + _packed([round(model.start[n] * UNIT) for n in places])
        columns = [
            _packed([round(column[n] * UNIT / FULL) for n in places]) for column in model.columns
        ]
        # By feature and level: looked up, not multiplied.
        self._steps = tuple(
            [tuple([column * level for level in range(FULL + 1)]) for column in columns]
        )

    def logits(self, levels: bytes) -> list[float]:
        """One a head."""
        return [(field - _HALF) / UNIT for field in self._fields(levels)]

    def scores(self, levels: bytes) -> tuple[float, ...]:
        """One a head, 0..1: `model.scores_of` the logits."""
        return tuple(
            [
                _SCORES[int(_ROUNDED_HALF + _HALF_SCORE * tanh(_PER_FIELD * field - _FROM))]
                for field in self._fields(levels)
            ]
        )

    def _fields(self, levels: bytes) -> tuple[int, ...]:
        there = compress(self._steps, levels)
        total = sum(map(getitem, there, levels.translate(None, b"\0")), self._start)
        return self._unpack(total.to_bytes(self._size, "little"))


def _packed(numbers: Sequence[int]) -> int:
    return sum(number << (_BITS * place) for place, number in enumerate(numbers))


assert MAX_SUM > MAX_LOGIT
