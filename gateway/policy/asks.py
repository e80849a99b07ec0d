"""What a rule that asks for a verification comes to: rules and limits like any other.

`grace`, `trickle` and `cooldown` are conditions and quotas, so that deciding needs no case of its
own and a policy without them pays nothing:

    grace 24h           a shadow rule for 24 h from the first ask, then the rule itself
    grace 24h at 60/h   as well a limit during the grace, beyond which verification is asked for
    grace 100 requests  a limit in place of the rule, with 100 to begin with
    trickle 10/hour     a limit in place of the rule
    cooldown 30d        nothing is asked for 30 days after anything was passed
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..core.quota import QuotaError, parse_quota
from ..model import SECOND_US, Ask, Cost, Limit, Mode, OnStoreError, Predicate, Quota, Rule
from .conditions import ConditionCompiler
from .durations import parse_duration
from .schema import RawThen
from .source import Place, Report

DEFAULT_EXPIRES_US = 365 * 86_400 * SECOND_US
MAX_TERM_US = 3_650 * 86_400 * SECOND_US
REFILL_US = 30 * 86_400 * SECOND_US  # in which a grace counted in requests fills up again
MAX_GRACE_REQUESTS = 1_000_000
TERMS = ("grace", "trickle", "cooldown", "expires", "max_accounts")
WAITING, VERIFIED = "verification_wait_s", "verified_s"
_REQUESTS = re.compile(r"(\d{1,7}) requests?")


@dataclass(frozen=True, slots=True)
class Terms:
    """Durations in microseconds; 0 and None: not said."""

    grace_us: int = 0
    pace: Quota | None = None  # during the grace
    trickle: Quota | None = None
    cooldown_us: int = 0
    expires_us: int | None = DEFAULT_EXPIRES_US
    max_accounts: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What one or several raw rules were compiled to."""

    rules: tuple[Rule, ...] = ()
    limits: tuple[Limit, ...] = ()
    asks: tuple[Ask, ...] = ()


def joined(parts: Iterable[Asked]) -> Asked:
    listed = list(parts)
    return Asked(
        tuple([rule for part in listed for rule in part.rules]),
        tuple([limit for part in listed for limit in part.limits]),
        tuple([ask for part in listed for ask in part.asks]),
    )


def terms_of(then: RawThen, place: Place, report: Report) -> Terms | None:
    """None when the report says why not."""
    said = [name for name in TERMS if getattr(then, name)]
    if then.verify is None:
        for name in said:
            report.error(place / name, "belongs to verify: phone and the like")
        return None if said else Terms()
    before = report.has_errors
    grace_us, pace, requests = _grace(then.grace, place / "grace", report)
    trickle = _quota(then.trickle, requests, place / "trickle", report)
    if requests and trickle is None:
        trickle = Quota(requests, REFILL_US, requests)
    cooldown_us = _duration(then.cooldown, place / "cooldown", report)
    expires_us = _duration(then.expires, place / "expires", report) or DEFAULT_EXPIRES_US
    if report.has_errors and not before:
        return None
    return Terms(grace_us, pace, trickle, cooldown_us, expires_us, then.max_accounts)


def ask_of(
    rule: Rule, terms: Terms, conditions: ConditionCompiler, on_store_error: OnStoreError
) -> Asked:
    """The rule under its terms."""
    when = rule.when
    if terms.cooldown_us:
        last = conditions.position(VERIFIED)
        when = _both(when, _older(last, terms.cooldown_us))
    rules: list[Rule] = []
    limits: list[Limit] = []
    after = when
    if terms.grace_us:
        waited = conditions.position(WAITING)
        inside = _both(when, _within(waited, terms.grace_us))
        after = _both(when, _older(waited, terms.grace_us, at_unknown=False))
        name = f"{rule.name}.grace"
        rules.append(replace(rule, name=name, when=inside, mode=Mode.SHADOW))
        if terms.pace is not None:
            limits.append(
                _limit(rule, f"{rule.name}.pace", terms.pace, inside, conditions, on_store_error)
            )
    if terms.trickle is None:
        rules.append(replace(rule, when=after))
    else:
        limits.append(_limit(rule, rule.name, terms.trickle, after, conditions, on_store_error))
    names = [one.name for one in rules] + [limit.name for limit in limits]
    return Asked(tuple(rules), tuple(limits), tuple([_ask(name, rule, terms) for name in names]))


def _ask(name: str, rule: Rule, terms: Terms) -> Ask:
    assert rule.level is not None
    is_enforced = rule.mode is Mode.ENFORCE
    return Ask(name, rule.level, rule.message, terms.expires_us, is_enforced, terms.max_accounts)


def _limit(
    rule: Rule,
    name: str,
    quota: Quota,
    when: Predicate,
    conditions: ConditionCompiler,
    on_store_error: OnStoreError,
) -> Limit:
    return Limit(
        name=name,
        why=rule.why,
        mode=rule.mode,
        cost=Cost.REQUESTS,
        scope="a",
        scope_signal=conditions.position("account_id"),
        fields=(),
        quota=quota,
        tier_quotas={},
        when=when,
        on_store_error=on_store_error,
        message=rule.message,
        source=rule.source,
        is_public=False,  # what a waiting account is still served is nobody's allowance
        level=rule.level,
    )


# ── conditions ───────────────────────────────────────────────────────────────────────────────


def _both(first: Predicate, second: Predicate) -> Predicate:
    return lambda values: first(values) and second(values)


def _within(position: int, limit_us: int) -> Predicate:
    """Not begun counts as within."""
    limit_s = limit_us // SECOND_US

    def within(values: Sequence[object]) -> bool:
        seconds = values[position]
        return seconds is None or (isinstance(seconds, int) and seconds < limit_s)

    return within


def _older(position: int, limit_us: int, *, at_unknown: bool = True) -> Predicate:
    limit_s = limit_us // SECOND_US

    def older(values: Sequence[object]) -> bool:
        seconds = values[position]
        return at_unknown if seconds is None else isinstance(seconds, int) and seconds >= limit_s

    return older


# ── texts ────────────────────────────────────────────────────────────────────────────────────


def _grace(text: str | None, place: Place, report: Report) -> tuple[int, Quota | None, int]:
    """(time, quota during it, requests): one of time and requests is 0."""
    if text is None:
        return 0, None, 0
    counted = _REQUESTS.fullmatch(text)
    if counted is not None:
        requests = int(counted[1])
        if not 1 <= requests <= MAX_GRACE_REQUESTS:
            report.error(place, f"must be from 1 to {MAX_GRACE_REQUESTS} requests")
        return 0, None, requests
    span, at, quota = text.partition(" at ")
    pace = _quota(quota, 0, place, report) if at else None
    return _duration(span, place, report), pace, 0


def _quota(text: str | None, burst: int, place: Place, report: Report) -> Quota | None:
    if text is None:
        return None
    try:
        quota = parse_quota(text, burst or None)
    except QuotaError as error:
        report.error(place, str(error))
        return None
    if not quota.period_us:
        report.error(place, "needs a period: write 10/hour")
        return None
    return quota


def _duration(text: str | None, place: Place, report: Report) -> int:
    if text is None:
        return 0
    try:
        span_us = parse_duration(text)
    except ValueError as error:
        report.error(place, f"{error}; a grace may also be '24h at 60/hour' or '100 requests'")
        return 0
    if not SECOND_US <= span_us <= MAX_TERM_US:
        report.error(place, "must be from 1s to 3650d")
    return span_us
