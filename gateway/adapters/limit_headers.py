"""Rate-limit headers: what a caller may know of its own limits, in its dialect.

Law: only enforced limits of the account or its organization are ever told, and only values
that a limit really has. Of several limits of a kind the one with the least remaining is told,
since that is what the caller runs into first.

`limit` is the burst (what may come at once when nothing was used), `reset` the time until all
of it is there again; that is how both vendors define theirs. The IETF fields tell the rate:
draft-ietf-httpapi-ratelimit-headers-11, whose registry knows no unit for tokens yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial

from ..core.judge import own_limits
from ..model import SECOND_US, Cost, Decision, LimitState, Quota, Verdict

Headers = list[tuple[bytes, bytes]]

MAX_STRUCTURED_INTEGER = 999_999_999_999_999  # RFC 9651 §3.3.1
_OPENAI_KINDS = {Cost.REQUESTS: b"requests", Cost.TOTAL_TOKENS: b"tokens"}
_ANTHROPIC_KINDS = {
    Cost.REQUESTS: b"requests",
    Cost.TOTAL_TOKENS: b"tokens",
    Cost.INPUT_TOKENS: b"input-tokens",
    Cost.OUTPUT_TOKENS: b"output-tokens",
}
_IETF_NAMES = {**_ANTHROPIC_KINDS, Cost.CONCURRENCY: b"concurrency"}
_IETF_UNITS = {Cost.REQUESTS: b"", Cost.CONCURRENCY: b';qu="concurrent-requests"'}
_TOKEN_UNIT = b';qu="tokens"'
_ANTHROPIC_PREFIX = b"anthropic-ratelimit-"
_VENDOR_PREFIXES = (b"x-ratelimit-", _ANTHROPIC_PREFIX)
_FIELDS = (b"limit", b"remaining", b"reset")
_NAMES: dict[str, dict[Cost, tuple[bytes, ...]]] = {
    "openai": {
        cost: tuple(b"x-ratelimit-%b-%b" % (field, kind) for field in _FIELDS)
        for cost, kind in _OPENAI_KINDS.items()
    },
    "anthropic": {
        cost: tuple(_ANTHROPIC_PREFIX + kind + b"-" + field for field in _FIELDS)
        for cost, kind in _ANTHROPIC_KINDS.items()
    },
}
"""Per dialect and cost the names that say limit, remaining and reset."""


def limit_headers(decision: Decision, dialect: str) -> Headers:
    """For an allowed answer or a throttled one; empty where there is nothing to tell."""
    return tell_limits(own_limits(decision), decision, dialect)


def tell_limits(limits: Sequence[LimitState], decision: Decision, dialect: str) -> Headers:
    """`limits` are the caller's own, as `core.judge.own_limits` gives them."""
    if not limits:
        return []
    strictest = _strictest(limits)
    headers: Headers = []
    names = _NAMES.get(dialect)
    if names is not None:
        write = duration if dialect == "openai" else partial(_reset_instant, decision.decided_us)
        for cost, (limit, remaining, reset) in names.items():
            state = strictest.get(cost)
            if state is not None:
                headers += (
                    (limit, b"%d" % state.quota.burst),
                    (remaining, b"%d" % state.remaining),
                    (reset, write(state.reset_after_us)),
                )
        if headers and decision.is_served:  # the vendors' clients read their own on every answer
            return headers
    return headers + _ietf_pair(strictest, decision)


def merge_limit_headers(theirs: Headers, ours: Headers) -> Headers:
    """An answer's headers with our limits: of each kind the caller sees the stricter one.

    The upstream's limits are the caller's too, so where it has less remaining its three headers
    stay and ours go; otherwise, and where its number cannot be read, ours replace them. Kinds
    that only one side tells stay. The IETF fields are lists, so both sides' members stay.
    """
    if not ours:
        return theirs
    told = {name: value for name, value in theirs if name.startswith(_VENDOR_PREFIXES)}
    if not told:
        return theirs + ours
    ours_told = dict(ours)
    dropped_theirs: set[bytes] = set()
    dropped_ours: set[bytes] = set()
    for triple in _triples(ours_told):
        is_theirs = _remaining(told, triple) < _remaining(ours_told, triple)
        (dropped_ours if is_theirs else dropped_theirs).update(triple)
    return [pair for pair in theirs if pair[0] not in dropped_theirs] + [
        pair for pair in ours if pair[0] not in dropped_ours
    ]


def _strictest(limits: Iterable[LimitState]) -> dict[Cost, LimitState]:
    strictest: dict[Cost, LimitState] = {}
    for state in limits:
        known = strictest.get(state.cost)
        if known is None or _strictness(state) < _strictness(known):
            strictest[state.cost] = state
    return strictest


def _strictness(state: LimitState) -> tuple[int, int, int]:
    return (state.remaining, state.quota.burst, -state.reset_after_us)


def _reset_instant(decided_us: int, reset_after_us: int) -> bytes:
    return _instant(-(-(decided_us + reset_after_us) // SECOND_US))


def _ietf_pair(strictest: Mapping[Cost, LimitState], decision: Decision) -> Headers:
    policies, states = [], []
    for cost, state in strictest.items():
        policy = _ietf_policy(cost, state.quota)
        if policy is not None:
            policies.append(policy)
            window = b"" if cost is Cost.CONCURRENCY else b";t=%d" % _window_s(state, decision)
            states.append(b'"%b";r=%d%b' % (_IETF_NAMES[cost], state.remaining, window))
    if not policies:
        return []
    return [(b"ratelimit-policy", b", ".join(policies)), (b"ratelimit", b", ".join(states))]


def _window_s(state: LimitState, decision: Decision) -> int:
    """Until all is there again; but a wait that we name must not end before the window does."""
    window_us = state.reset_after_us
    if decision.verdict is Verdict.THROTTLE and decision.retry_after_us > 0:
        window_us = min(window_us, decision.retry_after_us)
    return -(-window_us // SECOND_US)


@lru_cache(maxsize=1024)
def _ietf_policy(cost: Cost, quota: Quota) -> bytes | None:
    """None where the quota is beyond what the field can say. A window is whole seconds only."""
    if quota.limit > MAX_STRUCTURED_INTEGER:
        return None
    window = b""
    if quota.period_us and quota.period_us % SECOND_US == 0:
        window = b";w=%d" % (quota.period_us // SECOND_US)
    unit = _IETF_UNITS.get(cost, _TOKEN_UNIT)
    return b'"%b";q=%d%b%b' % (_IETF_NAMES[cost], quota.limit, unit, window)


@lru_cache(maxsize=4096)
def _instant(unix_s: int) -> bytes:
    """RFC 3339, whole seconds, UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def duration(duration_us: int) -> bytes:
    """As OpenAI writes it, rounded up to milliseconds: `0s`, `20ms`, `8.64s`, `1m0s`, `2h0m1s`."""
    if duration_us == 0:
        return b"0s"
    ms = -(-duration_us // 1000)
    if ms < 1000:
        return b"%dms" % ms
    minutes, ms = divmod(ms, 60_000)
    seconds, ms = divmod(ms, 1000)
    text = f"{seconds}.{ms:03d}".rstrip("0").rstrip(".") if ms else str(seconds)
    if minutes >= 60:
        text = f"{minutes // 60}h{minutes % 60}m{text}"
    elif minutes:
        text = f"{minutes}m{text}"
    return text.encode() + b"s"


def _triples(told: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes, bytes]]:
    """The names (limit, remaining, reset) of each kind that is told."""
    triples = []
    for name in told:
        if name.startswith(b"x-ratelimit-remaining-"):
            kind = name.removeprefix(b"x-ratelimit-remaining-")
            triples.append((b"x-ratelimit-limit-" + kind, name, b"x-ratelimit-reset-" + kind))
        elif name.startswith(_ANTHROPIC_PREFIX) and name.endswith(b"-remaining"):
            stem = name.removesuffix(b"remaining")
            triples.append((stem + b"limit", name, stem + b"reset"))
    return triples


def _remaining(told: Mapping[bytes, bytes], triple: tuple[bytes, bytes, bytes]) -> float:
    value = told.get(triple[1], b"")
    return int(value) if value.isdigit() and len(value) < 19 else float("inf")
