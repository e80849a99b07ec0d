"""Chance that repeats: every random source hangs off the scenario's seed and a path of names.

Law: nothing here depends on Python's `hash`, on the order of sets, on a clock or on the platform.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from random import Random
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_TO_LETTERS = bytes(_LETTERS[byte % 62] for byte in range(256))
_HEX = b"0123456789abcdef"
_TO_HEX = bytes(_HEX[byte % 16] for byte in range(256))


def seed_of(seed: int, *path: str | int) -> int:
    """A 64-bit seed for what `path` names; equal paths give equal seeds, others independent."""
    text = "\x1f".join(map(str, (seed, *path)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def python_rng(seed: int, *path: str | int) -> Random:
    return Random(seed_of(seed, *path))


def numpy_rng(seed: int, *path: str | int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed_of(seed, *path)))


def letters(rng: Random, length: int) -> str:
    """Letters and digits, 5.95 bits each."""
    return rng.randbytes(length).translate(_TO_LETTERS).decode()


def letter_bytes(rng: Random, length: int) -> bytes:
    return rng.randbytes(length).translate(_TO_LETTERS)


def hex_digits(rng: Random, length: int) -> str:
    return rng.randbytes(length).translate(_TO_HEX).decode()


def hex_bytes(rng: Random, length: int) -> bytes:
    return rng.randbytes(length).translate(_TO_HEX)


class Weighted(Generic[T]):
    """A choice among values with weights; the weights need not sum to one."""

    __slots__ = ("_sums", "_total", "values")

    def __init__(self, weights: Mapping[T, float]) -> None:
        self.values: Sequence[T] = [value for value, weight in weights.items() if weight > 0]
        self._sums = list(accumulate(weight for weight in weights.values() if weight > 0))
        if not self._sums:
            raise ValueError("a choice needs at least one positive weight")
        self._total = self._sums[-1]

    def draw(self, rng: Random) -> T:
        at = bisect(self._sums, rng.random() * self._total)
        return self.values[min(at, len(self.values) - 1)]
