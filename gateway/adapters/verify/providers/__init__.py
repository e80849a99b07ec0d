"""Whoever verifies elsewhere: one file a scheme, each reads a signed webhook into a `Result`."""

from __future__ import annotations

from . import generic, stripe
from .result import Reader

READERS: dict[str, Reader] = {"hmac": generic.read_result, "stripe": stripe.read_result}

__all__ = ["READERS"]
