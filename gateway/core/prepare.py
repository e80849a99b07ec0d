"""What follows from policy and account alone, worked out once and not for each request.

Law: preparing changes no answer. A signal whose function did not look at the request gives the
same value for every request of the account, as signals are pure; a condition that came out
without a value that is not known yet comes out so for every request. Both are found out by
trying: whatever looks at what only the request tells is left for the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, TypeVar, cast, overload

from ..model import (
    Limit,
    PlannedStep,
    Policy,
    Predicate,
    RequestFacts,
    Rule,
    SignalFunction,
    SignalSpec,
    Status,
    Subject,
    record,
)
from .conditions import left_over, positions_of
from .jitter import Jitter
from .limit_plan import PreparedLimit, prepare_limit

_Key = TypeVar("_Key")
_Made = TypeVar("_Made")

MAX_SHAPES = 1_024
"""Lists of what is left to be asked; accounts have few different ones, and share them."""

Asked = tuple[tuple[int, SignalFunction], ...]
"""Signals that only the request answers, by position."""
OfWindow = tuple[tuple[int, Callable[[Any, RequestFacts], object]], ...]
"""Those that its account's window answers."""
OpenRules = tuple[tuple[Predicate | None, Rule], ...]
"""Rules that may match, with what is left to be asked of each: None, nothing, it does match."""
Open = tuple[OpenRules, tuple[tuple[Limit, Predicate | None], ...]]
"""And limits that may concern a request, likewise."""
_NOT_KNOWN = object()


@record
class Prepared:
    """All that `assess` need not work out again. `values` are those of `Policy.signals`, None
    where they are `asked` or read `of_window`. `ready` has the whole step of a request of one
    item for each of `limits`, None where it is `open`: where the request decides about the step.
    `is_jittered`: it holds for one epoch only."""

    values: tuple[object, ...]
    asked: Asked
    of_window: OfWindow
    rules: OpenRules
    limits: tuple[PreparedLimit, ...]
    ready: tuple[PlannedStep | None, ...]
    open: tuple[tuple[int, PreparedLimit], ...]
    is_jittered: bool


def unprepared(policy: Policy, subject: Subject) -> Prepared:
    """For one request: nothing but the limits' quotas is worked out ahead. Of strangers, who are
    all alike but for their ids, it holds for any."""
    limits = [
        prepare_limit(policy, limit, subject, None, when=limit.when, known={}, tags={})
        for limit in policy.limits
    ]
    return _with_limits(
        (None,) * len(policy.signals),
        _parted(enumerate(policy.signals)),
        tuple([(rule.when, rule) for rule in policy.rules]),
        [limit for limit in limits if limit is not None],
    )


def _with_limits(
    values: tuple[object, ...],
    asked: tuple[Asked, OfWindow],
    rules: OpenRules,
    limits: list[PreparedLimit],
) -> Prepared:
    ready = tuple([one.ready if one.when is None else None for one in limits])
    still_open = tuple([(n, one) for n, one in enumerate(limits) if ready[n] is None])
    is_jittered = any(one.limit.cluster is not None for one in limits)
    return Prepared(values, *asked, rules, tuple(limits), ready, still_open, is_jittered)


def _parted(asked: Iterable[tuple[int, SignalSpec]]) -> tuple[Asked, OfWindow]:
    by_request, of_window = [], []
    for position, spec in asked:
        if spec.of_window is None:
            by_request.append((position, spec.read))
        else:
            of_window.append((position, spec.of_window))
    return tuple(by_request), tuple(of_window)


class Preparer:
    """Prepares accounts for one policy, and keeps what they share."""

    __slots__ = ("_asked", "_may_know", "_open", "_positions", "policy", "strangers")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.strangers = unprepared(policy, Subject("", status=Status.PROVISIONAL))
        # What looks at the request before it looks at the account is not tried again each time.
        everything = tuple(enumerate(policy.signals))
        known = _known_values(everything, Subject(""), "")
        self._may_know = tuple([one for one in everything if one[0] in known])
        self._asked: dict[tuple[int, ...], tuple[Asked, OfWindow]] = {}
        self._positions = _positions_of_conditions(policy)
        self._open: dict[tuple[object, ...], Open] = {}

    def prepare(
        self, subject: Subject, *, credential: str | None = None, jitter: Jitter | None = None
    ) -> Prepared:
        """To be kept as long as all of these stay what they are. With `credential` it holds for
        requests that carry this one only."""
        policy = self.policy
        known = _known_values(self._may_know, subject, credential)
        rules, limits_when = self._still_open(known)
        limits, tags = [], dict[str, str]()
        for limit, when in limits_when:
            one = prepare_limit(policy, limit, subject, jitter, when=when, known=known, tags=tags)
            if one is not None:
                limits.append(one)
        return _with_limits(
            tuple(map(known.get, range(len(policy.signals)))),
            self._still_asked(known),
            rules,
            limits,
        )

    def _still_asked(self, known: dict[int, object]) -> tuple[Asked, OfWindow]:
        key = tuple(known)  # filled in the order of positions
        kept = self._asked.get(key)
        if kept is None:
            asked = [one for one in enumerate(self.policy.signals) if one[0] not in known]
            kept = _shared(self._asked, key, _parted(asked))
        return kept

    def _still_open(self, known: dict[int, object]) -> Open:
        """The same for accounts alike in all that conditions ask for: worked out once."""
        if self._positions is None:
            return self._work_out(known)
        key = tuple([known.get(position, _NOT_KNOWN) for position in self._positions])
        kept = self._open.get(key)
        if kept is None:
            kept = _shared(self._open, key, self._work_out(known))
        return kept

    def _work_out(self, known: dict[int, object]) -> Open:
        values = _Known(known, len(self.policy.signals))
        rules = [(_left_over(rule.when, values), rule) for rule in self.policy.rules]
        limits = [
            (True if limit.when is None else _left_over(limit.when, values), limit)
            for limit in self.policy.limits
        ]
        return (
            tuple([(_when(left), rule) for left, rule in rules if left is not False]),
            tuple([(limit, _when(left)) for left, limit in limits if left is not False]),
        )


def _when(left: Predicate | bool) -> Predicate | None:
    return None if isinstance(left, bool) else left


def _positions_of_conditions(policy: Policy) -> tuple[int, ...] | None:
    """Of the values that rules and limits ask for; None where that cannot be told."""
    conditions = [rule.when for rule in policy.rules]
    conditions += [limit.when for limit in policy.limits if limit.when is not None]
    told = [positions_of(when) for when in conditions]
    known = [positions for positions in told if positions is not None]
    return tuple(sorted(frozenset().union(*known))) if len(known) == len(told) else None


def _shared(kept: dict[_Key, _Made], key: _Key, made: _Made) -> _Made:
    """The equal one that another account has already, or `made`."""
    if len(kept) >= MAX_SHAPES:
        kept.clear()
    return kept.setdefault(key, made)


# ── trying without a request ─────────────────────────────────────────────────────────────────


class _OnlyTheRequestTellsError(BaseException):
    """Not an Exception, so that nothing which is tried takes it for an error of its own."""


_LEFT_FOR_THE_REQUEST = (
    _OnlyTheRequestTellsError,
    *(TypeError, ValueError, LookupError, ArithmeticError),  # it expects, and will get, real facts
)


class _NoRequest:
    """Stands for the facts; only the credential is known, if that."""

    __slots__ = ("credential",)

    def __init__(self, credential: str | None) -> None:
        if credential is not None:
            self.credential = credential

    def __getattr__(self, name: str) -> NoReturn:
        raise _OnlyTheRequestTellsError


class _Known(Sequence[object]):
    """The values of the policy's signals as far as they are known: `values`, by position."""

    __slots__ = ("_count", "values")

    def __init__(self, values: dict[int, object], count: int) -> None:
        self.values = values
        self._count = count

    @overload
    def __getitem__(self, position: int) -> object: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[object]: ...
    def __getitem__(self, position: int | slice) -> object:
        if isinstance(position, slice) or position not in self.values:
            raise _OnlyTheRequestTellsError
        return self.values[position]

    def __len__(self) -> int:
        return self._count


def _known_values(
    signals: Iterable[tuple[int, SignalSpec]], subject: Subject, credential: str | None
) -> dict[int, object]:
    facts = cast(RequestFacts, _NoRequest(credential))
    values: dict[int, object] = {}
    for position, spec in signals:
        try:
            values[position] = spec.read(facts, subject)
        except _LEFT_FOR_THE_REQUEST:
            continue
    return values


def _left_over(when: Predicate, known: _Known) -> Predicate | bool:
    """What the condition comes to for every request, or what is left to be asked of each."""
    if positions_of(when) is not None:
        return left_over(when, known, known.values)
    try:
        return bool(when(known))
    except _OnlyTheRequestTellsError:
        return when
