"""Raw limits to `model.Limit`: keys, quotas, and the quotas that cannot hold.

What a limit is `by` decides where its counter lives. Accounts, organizations, clusters and
client networks have places of their own; a limit by several signals lives with the narrowest of
those (in that order) and tells the others apart inside of it. Other signals get a place per
value; only a limit with `shards` is spread, by request, over that many places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.quota import MAX_SPAN_US, QuotaError, parse_count, parse_quota
from ..model import TOKEN_COSTS, Cost, Limit, Mode, OnStoreError, Quota
from .cluster_terms import ClusterTermsCompiler, names_cluster
from .conditions import Condition, ConditionCompiler
from .durations import parse_duration
from .hints import did_you_mean
from .operators import OperatorError, Vocabulary, check_choice
from .rules import check_public_text, check_unknown
from .schema import RawLimit
from .source import Place, Report, shown

ALIASES = {"account": "account_id", "org": "org_id", "cluster": "cluster_id"}
PLACES = (("account_id", "a"), ("org_id", "o"), ("cluster_id", "c"), ("client_network", "n"))
VALUE_SCOPE, GLOBAL_SCOPE = "v", "g"
MAX_KEY_SIGNALS = 4
MAX_LEASES = 100_000
MAX_LEASE_US = 86_400_000_000
MAX_EXCHANGE_TOKENS = 2**24  # what one exchange may plausibly owe beyond its reservation
MAX_DEBT_US = 100 * MAX_SPAN_US  # keeps a TAT in debt below 2^53 us
MINUTE_US = 60_000_000

_MESSAGES = {
    Cost.REQUESTS: "Too many requests; please slow down.",
    Cost.INPUT_TOKENS: "Too many input tokens; please slow down.",
    Cost.OUTPUT_TOKENS: "Too many output tokens; please slow down.",
    Cost.TOTAL_TOKENS: "Too many tokens; please slow down.",
    Cost.CONCURRENCY: "Too many requests at the same time; please wait for one to finish.",
}


@dataclass(frozen=True, slots=True)
class LimitDefaults:
    """What the policy says for all limits that do not say it themselves."""

    mode: Mode
    on_store_error: OnStoreError


@dataclass(frozen=True, slots=True)
class _Key:
    scope: str
    scope_signal: str | None
    fields: tuple[str, ...]


class LimitCompiler:
    """Compiles the limits of one policy."""

    def __init__(
        self,
        conditions: ConditionCompiler,
        vocabulary: Vocabulary,
        report: Report,
        defaults: LimitDefaults,
    ) -> None:
        self._conditions = conditions
        self._vocabulary = vocabulary
        self._report = report
        self._defaults = defaults
        self._clusters = ClusterTermsCompiler(report, self._tier_quota)

    def compile(self, raw: RawLimit, place: Place) -> Limit | None:
        """None when the report says why not."""
        cost = Cost(raw.cost)
        key = self._key(raw, place)
        quota = self._base_quota(raw, cost, place)
        tier_quotas = self._tier_quotas(raw, cost, place)
        when = self._when(raw, place)
        lease_us = self._lease_us(raw, cost, place)
        self._check_extras(raw, cost, key, place)
        self._check_shards(raw, quota, tier_quotas, place)
        if key is None:
            return None
        by = [name for name in (key.scope_signal, *key.fields) if name is not None]
        cluster = self._clusters.compile(raw, cost, quota, place, by=by)
        if raw.when is not None and when is None:
            return None
        position = self._conditions.position
        return Limit(
            name=raw.name,
            why=raw.why,
            mode=Mode(raw.mode) if raw.mode else self._defaults.mode,
            cost=cost,
            scope=key.scope,
            scope_signal=None if key.scope_signal is None else position(key.scope_signal),
            fields=tuple(map(position, key.fields)),
            quota=quota,
            tier_quotas=tier_quotas,
            when=None if when is None else when.predicate,
            on_store_error=(
                OnStoreError(raw.on_store_error)
                if raw.on_store_error
                else self._defaults.on_store_error
            ),
            message=raw.message or _MESSAGES[cost],
            lease_us=lease_us,
            cached_input_weight=1.0 if raw.cached_input_weight is None else raw.cached_input_weight,
            shards=raw.shards or 1,
            source=str(place),
            cluster=cluster,
            is_public=cluster is None and not names_cluster(raw.when),
        )

    # ── key ──────────────────────────────────────────────────────────────────────────────────

    def _key(self, raw: RawLimit, place: Place) -> _Key | None:
        where = place / "by"
        names: list[Any] = raw.by if isinstance(raw.by, list) else [raw.by]
        if not 1 <= len(names) <= MAX_KEY_SIGNALS or not all(isinstance(n, str) for n in names):
            self._report.error(where, f"must be a signal, or a list of 1 to {MAX_KEY_SIGNALS}")
            return None
        if "global" in names:
            if len(names) > 1:
                self._report.error(where, "global goes alone")
            return _Key(GLOBAL_SCOPE, None, ())
        named = [ALIASES.get(name, name) for name in names]
        if len(set(named)) < len(named):
            self._report.error(where, "names a signal twice")
            return None
        specs = [self._signal(name, where) for name in named]
        return _placed(named, is_spread=(raw.shards or 1) > 1) if all(specs) else None

    def _signal(self, name: str, place: Place) -> bool:
        spec = self._conditions.spec(name, place, also=(*ALIASES, "global"))
        if spec is not None and spec.value_type is tuple:
            self._report.error(place, f"{name} is a list: limits need single values")
            return False
        return spec is not None

    # ── quotas ───────────────────────────────────────────────────────────────────────────────

    def _base_quota(self, raw: RawLimit, cost: Cost, place: Place) -> Quota | None:
        if raw.quota is None:
            if raw.tiers is None and raw.states is None and raw.suspicion is None:
                self._report.error(place, "needs a quota, or quotas by tier under tiers")
            elif raw.burst is not None:
                self._report.error(place / "burst", "belongs to a quota: write it with that")
            return None
        return self._quota(raw.quota, raw.burst, cost, place)

    def _tier_quotas(self, raw: RawLimit, cost: Cost, place: Place) -> Mapping[str, Quota]:
        where = place / "tiers"
        if raw.tiers is None:
            return {}
        if not isinstance(raw.tiers, dict) or not raw.tiers:
            self._report.error(where, "must be a table from tier to quota")
            return {}
        quotas: dict[str, Quota] = {}
        for tier, value in raw.tiers.items():
            self._check_tier(tier, where / tier)
            quota = self._tier_quota(value, cost, where / tier)
            if quota is not None:
                quotas[tier] = quota
        return quotas

    def _check_tier(self, tier: str, place: Place) -> None:
        try:
            check_choice("tier", tier, self._vocabulary)
        except OperatorError as error:
            self._report.error(place, str(error))

    def _tier_quota(self, value: Any, cost: Cost, place: Place) -> Quota | None:
        """`50/min`, or `{quota: 50/min, burst: 10}`."""
        if not isinstance(value, dict):
            return self._quota(value, None, cost, place)
        for name in value.keys() - {"quota", "burst"}:
            hint = did_you_mean(name, ("quota", "burst"))
            self._report.error(place / name, f"no such key{hint}")
        if value.get("quota") is None:
            self._report.error(place / "quota", "is required")
            return None
        return self._quota(value["quota"], value.get("burst"), cost, place)

    def _quota(self, value: Any, burst: Any, cost: Cost, place: Place) -> Quota | None:
        """The quota; `place` has `quota` and `burst` below it, or is the quota's own."""
        where = place / "quota" if (place / "quota").is_written else place
        try:
            if cost is Cost.CONCURRENCY:
                return _leases(value, burst)
            quota = _rate(value, burst, cost)
        except QuotaError as error:
            self._report.error(where, str(error))
            return None
        if burst is None and quota.period_us > MINUTE_US and quota.burst < 10:
            self._report.warn(where, _scant_burst(quota))
        return quota

    # ── the rest ─────────────────────────────────────────────────────────────────────────────

    def _when(self, raw: RawLimit, place: Place) -> Condition | None:
        if raw.when is None:
            return None
        when = self._conditions.compile(
            raw.when, place / "when", on_unknown=raw.on_unknown == "match"
        )
        if when is not None:
            mode = Mode(raw.mode) if raw.mode else self._defaults.mode
            check_unknown(self._report, when, raw.on_unknown, mode, place)
        return when

    def _lease_us(self, raw: RawLimit, cost: Cost, place: Place) -> int:
        if raw.lease is None:
            return 600_000_000
        where = place / "lease"
        if cost is not Cost.CONCURRENCY:
            self._report.error(where, "is for cost: concurrency only")
        try:
            lease_us = parse_duration(raw.lease)
        except ValueError as error:
            self._report.error(where, str(error))
            return 0
        if not 1_000_000 <= lease_us <= MAX_LEASE_US:
            self._report.error(where, "must be from 1s to 1d")
        return lease_us

    def _check_extras(self, raw: RawLimit, cost: Cost, key: _Key | None, place: Place) -> None:
        counts_input = cost in (Cost.INPUT_TOKENS, Cost.TOTAL_TOKENS)
        if raw.cached_input_weight is not None and not counts_input:
            self._report.error(
                place / "cached_input_weight", "is for cost: input_tokens or total_tokens only"
            )
        if raw.shards is not None and raw.shards > 1 and key and key.scope != GLOBAL_SCOPE:
            self._report.error(
                place / "shards", "is for limits by global, tier, model and the like only"
            )
        check_public_text(self._report, raw.message, place / "message")
        if raw.on_unknown is not None and raw.when is None:
            self._report.error(place / "on_unknown", "needs a when")

    def _check_shards(
        self, raw: RawLimit, quota: Quota | None, tiers: Mapping[str, Quota], place: Place
    ) -> None:
        """Each shard gets its part of the quota, rounded down: at least one of each."""
        shards = raw.shards or 1
        quotas = [*([quota] if quota else []), *tiers.values()]
        if shards > 1 and any(shards > min(q.limit, q.burst) for q in quotas):
            self._report.error(place / "shards", f"{shards} parts of the quota hold nothing")


def _placed(names: list[str], *, is_spread: bool) -> _Key:
    """Where the counter lives. The order of `names` changes nothing but, among signals without
    a place of their own, which one the limit is about: the first."""
    if "key" in names and "account_id" not in names:
        names = ["account_id", *names]
    for signal, scope in PLACES:
        if signal in names:
            return _Key(scope, signal, tuple(sorted(set(names) - {signal})))
    if is_spread:
        return _Key(GLOBAL_SCOPE, None, tuple(sorted(names)))
    return _Key(VALUE_SCOPE, names[0], tuple(sorted(names[1:])))


def _leases(value: Any, burst: Any) -> Quota:
    if burst is not None:
        raise QuotaError("a concurrency quota has no burst")
    is_text = isinstance(value, str) and ("/" in value or value.strip().endswith("at once"))
    quota = parse_quota(value if is_text else f"{_count(value)} at once")
    if quota.period_us:
        raise QuotaError("concurrency has no period: write 12, or '12 at once'")
    if quota.limit > MAX_LEASES:
        raise QuotaError(f"at most {MAX_LEASES} at once")
    return quota


def _rate(value: Any, burst: Any, cost: Cost) -> Quota:
    if not isinstance(value, str):
        raise QuotaError(f"a rate needs a period: write {shown(value)}/min")
    quota = parse_quota(value, None if burst is None else _count(burst))
    if not quota.period_us:
        raise QuotaError("'at once' is for cost: concurrency; a rate needs a period: 60/min")
    debt_us = MAX_EXCHANGE_TOKENS * quota.period_us // quota.limit
    if cost in TOKEN_COSTS and debt_us > MAX_DEBT_US:
        least = -(-MAX_EXCHANGE_TOKENS * 86_400_000_000 // MAX_DEBT_US)
        raise QuotaError(
            f"{value} tokens cannot hold: one exchange could owe over 100 years; "
            f"at least {least}/day"
        )
    return quota


def _count(value: Any) -> int:
    """`500`, `200k` or a number."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise QuotaError(f"{shown(value)} is no count: write 500, 200k or 1.5M")
    return parse_count(str(value))


def _scant_burst(quota: Quota) -> str:
    every_s = quota.period_us // quota.limit / 1_000_000
    return (
        f"lets {quota.burst} pass at once and then one every {every_s:.0f} s: "
        "say how many may come at once with burst"
    )
