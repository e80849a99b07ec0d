"""The comparisons of conditions, one function each: from the policy's value to a test.

A test gets a value that is known. Every one is linear in the value's length: patterns have `*`
only and are matched part by part, there are no regular expressions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..model import SECOND_US, Level, SignalSpec
from .durations import parse_duration
from .forms import affix_fault, country_fault, part_fault, start_fault, whole_fault
from .hints import LEVEL_NAMES, TYPE_TEXTS, did_you_mean
from .source import shown

Test = Callable[[Any], bool]
GROUPS = frozenset({"all", "any", "not"})
MAX_LISTED_VALUES = 1_000
MAX_TEXT = 256
_COUNTRY = re.compile(r"[A-Z]{2}")
_COUNTRIES = frozenset(
    {
        *("country", "home_country", "last_country", "account_countries"),
        *("billing_country", "phone_country", "signup_country"),
    }
)


class OperatorError(ValueError):
    """The value does not fit the comparison; the message says what would."""


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A set of `sets:` or `sets/*.yaml`; its values are all text or all whole numbers."""

    name: str
    values: frozenset[Any]
    value_type: type


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names a policy may use: its sets, and the only values that some signals take."""

    sets: Mapping[str, NamedSet] = field(default_factory=dict)
    choices: Mapping[str, frozenset[str]] = field(default_factory=dict)
    used_sets: set[str] = field(default_factory=set)
    region_sets: set[str] = field(default_factory=set)  # of those, the ones compared with countries


Operator = Callable[[SignalSpec, Any, Vocabulary], Test]


def literal(spec: SignalSpec, value: object, vocabulary: Vocabulary) -> Any:
    """A single value as the signal would have it. Raises OperatorError."""
    kind = str if spec.value_type is tuple else spec.value_type
    if value is None:
        raise OperatorError(f"{spec.name} cannot equal nothing: write {{exists: false}}")
    if isinstance(value, list):
        raise OperatorError(f"must be one value: write {{in: {_flow(value)}}}")
    if kind is Level:
        return level(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and is_number:
        return value
    if type(value) is not kind:
        raise OperatorError(
            f"{spec.name} is {TYPE_TEXTS[kind]}, not {shown(value)}{_quoted(kind, value)}"
        )
    if isinstance(value, str):
        _check_text(spec, value, vocabulary)
    return value


def level(value: object) -> Level:
    """`phone` → Level.PHONE. Raises OperatorError."""
    if not isinstance(value, str) or value not in LEVEL_NAMES:
        word = value if isinstance(value, str) else ""
        raise OperatorError(f"{shown(value)} is no level{did_you_mean(word, LEVEL_NAMES)}")
    return Level[value.upper()]


def _check_text(spec: SignalSpec, text: str, vocabulary: Vocabulary) -> None:
    if not 1 <= len(text) <= MAX_TEXT:
        raise OperatorError(f"must be text of 1 to {MAX_TEXT} characters")
    check_choice(spec.name, text, vocabulary)
    if spec.name in _COUNTRIES and not _COUNTRY.fullmatch(text):
        raise OperatorError(f"{shown(text)} is no country: two capital letters (ISO 3166-1)")
    if spec.name in _COUNTRIES:
        _check_form(country_fault(text))
    _check_form(whole_fault(spec.name, text))


def _check_form(fault: str | None) -> None:
    if fault is not None:
        raise OperatorError(fault)


def check_choice(signal: str, text: str, vocabulary: Vocabulary) -> None:
    """Raises OperatorError when the signal can never have this value."""
    choices = vocabulary.choices.get(signal)
    if choices is not None and text not in choices:
        raise OperatorError(f"{signal} is never {shown(text)}{did_you_mean(text, choices)}")


def _quoted(kind: type, value: object) -> str:
    return f': write "{value}"' if kind is str and isinstance(value, int | float) else ""


def _flow(values: list[Any]) -> str:
    return f"[{', '.join(map(str, values[:3]))}{', …' if len(values) > 3 else ''}]"


# ── one function a comparison ────────────────────────────────────────────────────────────────


def _eq(spec: SignalSpec, value: object, vocabulary: Vocabulary) -> Test:
    expected = literal(spec, value, vocabulary)
    return lambda known: bool(known == expected)


def _in(spec: SignalSpec, value: object, vocabulary: Vocabulary) -> Test:
    """A list of values, or the name of a set."""
    if isinstance(value, str):
        members = _members(spec, value, vocabulary)
    elif not isinstance(value, list) or not 1 <= len(value) <= MAX_LISTED_VALUES:
        raise OperatorError(f"must be a list of 1 to {MAX_LISTED_VALUES} values, or a set's name")
    else:
        members = frozenset([literal(spec, one, vocabulary) for one in value])
    return lambda known: known in members


def _members(spec: SignalSpec, name: str, vocabulary: Vocabulary) -> frozenset[Any]:
    named = vocabulary.sets.get(name)
    if named is None:
        raise OperatorError(f"no such set{did_you_mean(name, vocabulary.sets)}")
    vocabulary.used_sets.add(name)
    if named.value_type is not spec.value_type:
        raise OperatorError(
            f"set {name} holds {TYPE_TEXTS[named.value_type]}, "
            f"{spec.name} is {TYPE_TEXTS[spec.value_type]}"
        )
    for value in named.values:
        literal(spec, value, vocabulary)
    if spec.name in _COUNTRIES:
        vocabulary.region_sets.add(name)
    return named.values


def _number(spec: SignalSpec, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OperatorError(f"must be a number, not {shown(value)}{_seconds_hint(spec, value)}")
    return value


def _seconds_hint(spec: SignalSpec, value: object) -> str:
    """For whoever writes `7d` where seconds are counted."""
    if not spec.name.endswith("_s") or not isinstance(value, str):
        return ""
    try:
        return f": in seconds, write {parse_duration(value) // SECOND_US}"
    except ValueError:
        return ""


def _gt(spec: SignalSpec, value: object, vocabulary: Vocabulary) -> Test:
    bound = _number(spec, value)
    return lambda known: bool(known > bound)


def _gte(spec: SignalSpec, value: object, vocabulary: Vocabulary) -> Test:
    bound = _number(spec, value)
    return lambda known: bool(known >= bound)


def _lt(spec: SignalSpec, value: object, vocabulary: Vocabulary) -> Test:
    bound = _number(spec, value)
    return lambda known: bool(known < bound)


def _lte(spec: SignalSpec, value: object, vocabulary: Vocabulary) -> Test:
    bound = _number(spec, value)
    return lambda known: bool(known <= bound)


def _below(spec: SignalSpec, value: object, vocabulary: Vocabulary) -> Test:
    bound = level(value)
    if bound is Level.NONE:
        raise OperatorError("no level is below none")
    return lambda known: bool(known < bound)


def _at_least(spec: SignalSpec, value: object, vocabulary: Vocabulary) -> Test:
    bound = level(value)
    return lambda known: bool(known >= bound)


def _contains(spec: SignalSpec, value: object, vocabulary: Vocabulary) -> Test:
    expected = literal(spec, value, vocabulary)
    return lambda known: expected in known


def _any_in(spec: SignalSpec, value: object, vocabulary: Vocabulary) -> Test:
    """Whether one of the values is in a list, or in a named set of texts."""
    test = _in(replace(spec, value_type=str), value, vocabulary)
    return lambda known: any(map(test, known))


def _affixes(value: object) -> tuple[str, ...]:
    texts = value if isinstance(value, list) else [value]
    if not 1 <= len(texts) <= MAX_LISTED_VALUES:
        raise OperatorError(f"must be text, or a list of 1 to {MAX_LISTED_VALUES} texts")
    for text in texts:
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT:
            raise OperatorError(f"must be text of 1 to {MAX_TEXT} characters, not {shown(text)}")
    return tuple(texts)


def _prefix(spec: SignalSpec, value: object, vocabulary: Vocabulary) -> Test:
    prefixes = _affixes(value)
    for text in prefixes:
        _check_form(affix_fault(spec.name, text))
        _check_form(start_fault(spec.name, text))
    return lambda known: bool(known.startswith(prefixes))


def _suffix(spec: SignalSpec, value: object, vocabulary: Vocabulary) -> Test:
    suffixes = _affixes(value)
    for text in suffixes:
        _check_form(affix_fault(spec.name, text))
        _check_form(part_fault(spec.name, text))
    return lambda known: bool(known.endswith(suffixes))


def _glob(spec: SignalSpec, value: object, vocabulary: Vocabulary) -> Test:
    (pattern,) = _affixes(value) if isinstance(value, str) else ("",)
    if "*" not in pattern:
        raise OperatorError("must be a text with at least one * (which stands for any text)")
    _check_form(start_fault(spec.name, pattern))
    return glob(pattern)


def glob(pattern: str) -> Test:
    """`*` stands for any text, also none; every other character for itself."""
    first, *middle, last = pattern.split("*")

    def matches(known: str) -> bool:
        if len(known) < len(first) + len(last):
            return False
        if not known.startswith(first) or not known.endswith(last):
            return False
        at, end = len(first), len(known) - len(last)
        for part in middle:
            found = known.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    return matches


_ORDERED: dict[str, Operator] = {
    "eq": _eq,
    "in": _in,
    "gt": _gt,
    "gte": _gte,
    "lt": _lt,
    "lte": _lte,
}
OPERATORS: dict[type, dict[str, Operator]] = {
    bool: {"eq": _eq},
    int: _ORDERED,
    float: _ORDERED,
    str: {"eq": _eq, "in": _in, "prefix": _prefix, "suffix": _suffix, "glob": _glob},
    Level: {"eq": _eq, "in": _in, "below": _below, "at_least": _at_least},
    tuple: {"contains": _contains, "any_in": _any_in},
}

BESIDE = ("not", "exists", "on_unknown")
"""What stands beside the comparisons of any signal."""
