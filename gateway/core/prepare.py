"""What follows from policy and account alone, worked out once and not for each request.

Law: preparing changes no answer. A signal whose function did not look at the request gives the
same value for every request of the account, as signals are pure; a condition that came out
without a value that is not known yet comes out so for every request. Both are found out by
trying: whatever looks at what only the request tells is left for the request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn, TypeVar, cast, overload

from ..model import (
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
from .jitter import Jitter
from .limit_plan import PreparedLimit, prepare_limit

_Key = TypeVar("_Key")
_Made = TypeVar("_Made")

MAX_SHAPES = 1_024
"""Lists of what is left to be asked; accounts have few different ones, and share them."""

Asked = tuple[tuple[int, SignalFunction], ...]
"""Signals that only the request answers, by position."""
OpenRules = tuple[tuple[Predicate | None, Rule], ...]
"""Rules that may match, with what is left to be asked of each: None, nothing, it does match."""


@record
class Prepared:
    """All that `assess` need not work out again. `values` are those of `Policy.signals`, None
    where they are `asked`. `ready` has the whole step of a request of one item for each of
    `limits`, None where it is `open`: where the request decides about the step. `is_jittered`:
    it holds for one epoch only."""

    values: tuple[object, ...]
    asked: Asked
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
        tuple([(position, spec.read) for position, spec in enumerate(policy.signals)]),
        tuple([(rule.when, rule) for rule in policy.rules]),
        [limit for limit in limits if limit is not None],
    )


def _with_limits(
    values: tuple[object, ...], asked: Asked, rules: OpenRules, limits: list[PreparedLimit]
) -> Prepared:
    ready = tuple([one.ready if one.when is None else None for one in limits])
    still_open = tuple([(n, one) for n, one in enumerate(limits) if ready[n] is None])
    is_jittered = any(one.limit.cluster is not None for one in limits)
    return Prepared(values, asked, rules, tuple(limits), ready, still_open, is_jittered)


class Preparer:
    """Prepares accounts for one policy, and keeps what they share."""

    __slots__ = ("_asked", "_may_know", "_rules", "policy", "strangers")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.strangers = unprepared(policy, Subject("", status=Status.PROVISIONAL))
        # What looks at the request before it looks at the account is not tried again each time.
        everything = tuple(enumerate(policy.signals))
        known = _known_values(everything, Subject(""), "")
        self._may_know = tuple([one for one in everything if one[0] in known])
        self._asked: dict[tuple[int, ...], Asked] = {}
        self._rules: dict[tuple[int, ...], OpenRules] = {}

    def prepare(
        self, subject: Subject, *, credential: str | None = None, jitter: Jitter | None = None
    ) -> Prepared:
        """To be kept as long as all of these stay what they are. With `credential` it holds for
        requests that carry this one only."""
        policy = self.policy
        known = _known_values(self._may_know, subject, credential)
        values = _Known(known, len(policy.signals))
        limits, tags = [], dict[str, str]()
        for limit in policy.limits:
            outcome = True if limit.when is None else _tried(limit.when, values)
            if outcome is not False:
                when = None if outcome else limit.when
                one = prepare_limit(
                    policy, limit, subject, jitter, when=when, known=known, tags=tags
                )
                if one is not None:
                    limits.append(one)
        return _with_limits(
            tuple([known.get(position) for position in range(len(policy.signals))]),
            self._still_asked(known),
            self._open_rules(values),
            limits,
        )

    def _still_asked(self, known: dict[int, object]) -> Asked:
        key = tuple(known)  # filled in the order of positions
        kept = self._asked.get(key)
        if kept is None:
            asked = [(p, s.read) for p, s in enumerate(self.policy.signals) if p not in known]
            kept = _shared(self._asked, key, tuple(asked))
        return kept

    def _open_rules(self, known: _Known) -> OpenRules:
        rules: list[tuple[Predicate | None, Rule]] = []
        shape: list[int] = []
        for number, rule in enumerate(self.policy.rules):
            outcome = _tried(rule.when, known)
            if outcome is not False:
                rules.append((None if outcome else rule.when, rule))
                shape += (number, outcome is True)
        return _shared(self._rules, tuple(shape), tuple(rules))


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


def _tried(when: Predicate, known: _Known) -> bool | None:
    """What the condition comes to for every request; None where the request decides."""
    try:
        return bool(when(known))
    except _OnlyTheRequestTellsError:
        return None
