"""Tables to predicates: `{cluster_size: {gte: 10}, verification: {below: phone}}`.

Law: a condition is true, false or unknown, and unknown never matches unless the policy says so.
`not` of unknown is unknown. Negation is pushed down to the single comparisons, each of which is
false on an unknown value whichever way round it stands; what is left at the top is exactly
"certainly true" (or, with `on_unknown: match`, "possibly true").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.conditions import combined, leaf
from ..model import Level, Predicate, SignalSpec
from .hints import did_you_mean
from .operators import BESIDE, GROUPS, OPERATORS, OperatorError, Test, Vocabulary
from .ranges import why_never
from .source import Place, Report, shown

MAX_COMPARISONS = 200


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled `when`. `unanswered`: comparisons of a signal that may be unknown, with nothing
    said about that case. `always`: the comparisons that must all hold, by signal, as written.
    `signals`: the names of all that it looks at, in the order in which they are written."""

    predicate: Predicate
    unanswered: tuple[Place, ...]
    always: Mapping[str, Any]
    signals: tuple[str, ...] = ()


class ConditionCompiler:
    """Compiles conditions of one policy and hands out the positions of their signals."""

    def __init__(
        self, signals: Mapping[str, SignalSpec], vocabulary: Vocabulary, report: Report
    ) -> None:
        self.used: dict[str, int] = {}
        self._signals = signals
        self._vocabulary = vocabulary
        self._report = report
        self._on_unknown = False
        self._unanswered: list[Place] = []
        self._compared: dict[str, None] = {}  # a set that keeps its order
        self._comparisons = 0

    def position(self, name: str) -> int:
        """Where the signal's value stands in the sequence that predicates get."""
        return self.used.setdefault(name, len(self.used))

    def spec(self, name: str, place: Place, *, also: Iterable[str] = GROUPS) -> SignalSpec | None:
        """The signal of that name; None, and a problem at `place`, when there is none. `also`
        are the other words that may have been meant."""
        spec = self._signals.get(name)
        if spec is None:
            hint = (
                did_you_mean(name, [*self._signals, *also])
                or "; docs/reference/signals.md lists them"
            )
            self._report.error(place, f"no such signal{hint}")
        return spec

    def compile(self, table: object, place: Place, *, on_unknown: bool = False) -> Condition | None:
        """None when the report says why not."""
        self._on_unknown = on_unknown
        self._unanswered, self._compared = [], {}
        self._comparisons = 0
        predicate = self._table(table, place, negated=False)
        if self._comparisons > MAX_COMPARISONS:
            self._report.error(place, f"over {MAX_COMPARISONS} comparisons: use a set")
            return None
        if predicate is None or not isinstance(table, dict):
            return None
        always = {name: value for name, value in table.items() if name not in GROUPS}
        return Condition(predicate, tuple(self._unanswered), always, tuple(self._compared))

    def _table(self, table: object, place: Place, *, negated: bool) -> Predicate | None:
        if not isinstance(table, dict):
            self._report.error(place, f"must be a table of conditions, not {shown(table)}")
            return None
        if not table:
            self._report.error(place, "is empty: it would hold for every request")
            return None
        parts = [
            self._entry(name, value, place / name, negated=negated) for name, value in table.items()
        ]
        return _combined(parts, is_all=not negated)

    def _entry(self, name: str, value: object, place: Place, *, negated: bool) -> Predicate | None:
        if name == "not":
            return self._table(value, place, negated=not negated)
        if name in GROUPS:
            return self._group(value, place, negated=negated, is_all=(name == "all") != negated)
        spec = self.spec(name, place)
        return None if spec is None else self._comparison(spec, value, place, negated=negated)

    def _group(
        self, tables: object, place: Place, *, negated: bool, is_all: bool
    ) -> Predicate | None:
        if not isinstance(tables, list) or not tables:
            self._report.error(place, "must be a list of at least one table")
            return None
        parts = [
            self._table(table, place / index, negated=negated) for index, table in enumerate(tables)
        ]
        return _combined(parts, is_all=is_all)

    def _comparison(
        self, spec: SignalSpec, value: object, place: Place, *, negated: bool
    ) -> Predicate | None:
        self._comparisons += 1
        operators = _operators(value)
        exists = self._popped(operators, "exists", {True: True, False: False}, spec, place)
        said = self._popped(
            operators, "on_unknown", {"match": True, "no_match": False}, spec, place
        )
        if exists is False and (operators or said is not None):
            self._report.error(place, "exists: false goes alone")
        elif not operators and not (isinstance(value, dict) and "exists" in value):
            self._report.error(place, "is empty: compare it with something")
        test = self._test_of_all(spec, operators, place, is_possible=exists is not False)
        if test is None:
            return None
        at_unknown = not exists if exists is not None else said
        if at_unknown is None and spec.nullable:
            self._unanswered.append(place)
        if_unknown = self._on_unknown if at_unknown is None else at_unknown != negated
        position = self.position(spec.name)
        self._compared[spec.name] = None
        return leaf(position, _negated(test) if negated else test, at_unknown=if_unknown)

    def _popped(
        self,
        operators: dict[str, Any],
        name: str,
        meanings: Mapping[Any, bool],
        spec: SignalSpec,
        place: Place,
    ) -> bool | None:
        """What `exists` or `on_unknown` says; None when it is not there, or wrong."""
        if name not in operators:
            return None
        said, where = operators.pop(name), place / name
        if not spec.nullable:
            self._report.warn(where, f"has no effect: {spec.name} is always known")
        if not isinstance(said, bool | str) or said not in meanings:
            choices = " or ".join(shown(meaning).strip("'") for meaning in meanings)
            self._report.error(where, f"must be {choices}, not {shown(said)}")
            return None
        return meanings[said]

    def _test_of_all(
        self, spec: SignalSpec, operators: dict[str, Any], place: Place, *, is_possible: bool
    ) -> Test | None:
        """All comparisons of one signal as one test of a known value."""
        if not operators:
            return lambda value: is_possible
        if spec.value_type in (int, float):
            never = why_never(spec, operators)
            if never is not None:
                self._report.error(place, f"never holds: {never}")
        tests = [self._test(spec, name, value, place) for name, value in operators.items()]
        return _combined(tests, is_all=True)

    def _test(self, spec: SignalSpec, name: str, value: object, place: Place) -> Test | None:
        where = place / name if (place / name).is_written else place
        if name == "not":
            if value == {}:
                self._report.error(where, "is empty: compare it with something")
            inner = self._test_of_all(spec, _operators(value), where, is_possible=True)
            return None if inner is None else _negated(inner)
        operator = OPERATORS[spec.value_type].get(name)
        if operator is None:
            self._report.error(where, _no_such(spec, name))
            return None
        try:
            return operator(spec, value, self._vocabulary)
        except OperatorError as error:
            self._report.error(where, str(error))
            return None


def _no_such(spec: SignalSpec, name: str) -> str:
    if name in BESIDE:
        return f"{name} stands beside the comparisons, not inside of not"
    known = OPERATORS[spec.value_type]
    if name == "eq":
        return f"must say how: {{{next(iter(known))}: …}}"
    return f"no such comparison of {spec.name}{did_you_mean(name, [*known, *BESIDE])}"


def _operators(value: object) -> dict[str, Any]:
    """A value alone is short for `{eq: value}`."""
    return dict(value) if isinstance(value, dict) else {"eq": value}


def _combined(
    parts: Sequence[Callable[[Any], bool] | None], *, is_all: bool
) -> Callable[[Any], bool] | None:
    """None when one of them is missing."""
    tests = [part for part in parts if part is not None]
    return combined(tests, is_all=is_all) if len(tests) == len(parts) else None


def _negated(test: Test) -> Test:
    return lambda value: not test(value)


def is_below(condition: object, level: Level) -> bool:
    """Whether a comparison of `verification` holds only below `level`."""
    if isinstance(condition, str):
        return condition.upper() in Level.__members__ and Level[condition.upper()] < level
    if not isinstance(condition, dict):
        return False
    bound = condition.get("below")
    if isinstance(bound, str) and bound.upper() in Level.__members__:
        return Level[bound.upper()] <= level
    listed = condition.get("in")
    if isinstance(listed, list):
        return all(is_below(one, level) for one in listed)
    return "eq" in condition and is_below(condition["eq"], level)
