"""Where signals register by name. A name that comes twice fails at import.

    @signal("cluster_size", type=int)
    def cluster_size(facts: RequestFacts, subject: Subject) -> int | None:
        ...

`int | None` in the signature is what makes the signal nullable: it may be unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from inspect import getdoc
from math import inf
from types import MappingProxyType, NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from .model import Level, RequestFacts, SignalFunction, SignalSpec

VALUE_TYPES = (bool, int, float, str, Level, tuple)
RESERVED_NAMES = frozenset({"all", "any", "not", "global"})  # words of the policy language
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_signals: dict[str, SignalSpec] = {}


def signal(
    name: str,
    *,
    type: type,
    is_free: bool = False,
    needs: str = "",
    of_window: Callable[[Any, RequestFacts], object] | None = None,
    low: float = -inf,
    high: float = inf,
) -> Callable[[SignalFunction], SignalFunction]:
    """Register the decorated function as the signal `name` with values of `type`; `is_free`
    where the caller can give it as many values as it likes; `needs` what surfaces work out only
    where a policy asks for it; `of_window`, `low` and `high` as `SignalSpec` has them.

    Raises ValueError for a name that is taken, reserved or not snake_case, for a type that
    policies cannot compare, for a signature that says another type, or for a missing docstring.
    """
    if not _NAME.fullmatch(name) or name in RESERVED_NAMES:
        raise ValueError(f"signal {name}: a snake_case name that is no word of the language")
    if type not in VALUE_TYPES:
        raise ValueError(f"signal {name}: policies cannot compare {type.__name__}")

    def register(read: SignalFunction) -> SignalFunction:
        if name in _signals:
            raise ValueError(f"signal {name} is defined twice")
        doc = getdoc(read)
        if not doc:
            raise ValueError(f"signal {name} has no docstring")
        declared, nullable = _returns(read)
        if declared is not type:
            raise ValueError(f"signal {name}: type={type.__name__}, but it returns {declared}")
        _signals[name] = SignalSpec(
            name, type, nullable, read, " ".join(doc.split()), is_free, needs, of_window, low, high
        )
        return read

    return register


def all_signals() -> Mapping[str, SignalSpec]:
    """Everything registered so far, by name; `gateway.signals` registers what we ship."""
    return MappingProxyType(_signals)


def _returns(read: SignalFunction) -> tuple[object, bool]:
    """(type, nullable) of the return annotation; `tuple[str, ...]` counts as tuple."""
    annotation = get_type_hints(read).get("return")
    nullable = False
    if isinstance(annotation, UnionType):
        parts = [part for part in get_args(annotation) if part is not NoneType]
        nullable = len(parts) < len(get_args(annotation))
        annotation = parts[0] if len(parts) == 1 else annotation
    return get_origin(annotation) or annotation, nullable
