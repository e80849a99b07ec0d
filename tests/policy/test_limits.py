"""Limits: where they count, how much, and the quotas that cannot hold."""

from __future__ import annotations

import pytest

from gateway.core.gcra import increment_us, tolerance_us
from gateway.model import SECOND_US, Cost, Limit, Mode, OnStoreError, Quota

from .builders import HEAD, compiled, limit, problems

MINUTE_US = 60 * SECOND_US


def only(rest: str, head: str = HEAD) -> tuple[Limit, tuple[str, ...]]:
    """The limit, and the names of the policy's signals by position."""
    policy = compiled(head + "limits:\n" + limit("one", rest))
    return policy.limits[0], tuple(spec.name for spec in policy.signals)


@pytest.mark.parametrize(
    ("by", "scope", "signal", "fields"),
    [
        ("account", "a", "account_id", []),
        ("account_id", "a", "account_id", []),
        ("key", "a", "account_id", ["key"]),
        ("[account, key]", "a", "account_id", ["key"]),
        ("[model, account]", "a", "account_id", ["model"]),
        ("[account, model]", "a", "account_id", ["model"]),
        ("[client_network, key]", "a", "account_id", ["client_network", "key"]),
        ("org", "o", "org_id", []),
        ("[client_network, org]", "o", "org_id", ["client_network"]),
        ("cluster", "c", "cluster_id", []),
        ("[cluster, model]", "c", "cluster_id", ["model"]),
        ("client_network", "n", "client_network", []),
        ("[client_network, tier]", "n", "client_network", ["tier"]),
        ("tier", "v", "tier", []),
        ("model", "v", "model", []),
        ("[model, country, asn]", "v", "model", ["asn", "country"]),
        ("global", "g", None, []),
    ],
)
def test_by_decides_where_a_limit_counts(
    by: str, scope: str, signal: str | None, fields: list[str]
) -> None:
    found, names = only(f"by: {by}, quota: 10/min")
    assert found.scope == scope
    assert (None if found.scope_signal is None else names[found.scope_signal]) == signal
    assert [names[position] for position in found.fields] == fields


def test_shards_spread_a_limit_by_value_too() -> None:
    found, names = only("by: model, quota: 100/min, shards: 4")
    assert (found.scope, found.scope_signal, found.shards) == ("g", None, 4)
    assert [names[position] for position in found.fields] == ["model"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("quota: 60/min", Quota(60, MINUTE_US, 60), id="a minute's burst"),
        pytest.param("quota: 600/hour", Quota(600, 60 * MINUTE_US, 10), id="what a minute allows"),
        pytest.param("quota: 200k/min, burst: 50k", Quota(200_000, MINUTE_US, 50_000), id="burst"),
        pytest.param("quota: 60/min, burst: 5", Quota(60, MINUTE_US, 5), id="burst as a number"),
        pytest.param("cost: concurrency, quota: 12", Quota(12, 0, 12), id="a number at once"),
        pytest.param("cost: concurrency, quota: 12 at once", Quota(12, 0, 12), id="at once"),
    ],
)
def test_a_quota_reads_as_written(text: str, expected: Quota) -> None:
    assert only(f"by: account, {text}")[0].quota == expected


def test_a_limit_says_only_what_differs_from_the_policy() -> None:
    plain = only("by: account, quota: 60/min")[0]
    assert (plain.mode, plain.on_store_error) == (Mode.ENFORCE, OnStoreError.DENY)
    assert (plain.cost, plain.lease_us, plain.cached_input_weight, plain.shards) == (
        Cost.REQUESTS,
        600 * SECOND_US,
        1.0,
        1,
    )
    own = only(
        "by: account, quota: 3, cost: concurrency, lease: 2h, mode: shadow, on_store_error: allow"
    )[0]
    assert (own.mode, own.on_store_error, own.lease_us) == (
        Mode.SHADOW,
        OnStoreError.ALLOW,
        7200 * SECOND_US,
    )


def test_tiers_have_quotas_of_their_own_and_may_be_all_there_is() -> None:
    found = only("by: account, tiers: {start: 50/min, scale: {quota: 5k/min, burst: 100}}")[0]
    assert found.quota is None
    assert found.tier_quotas == {
        "start": Quota(50, MINUTE_US, 50),
        "scale": Quota(5000, MINUTE_US, 100),
    }


@pytest.mark.parametrize(
    "text",
    ["7/min", "7/day, burst: 10", "40M/s", "1/day, burst: 10", "13/hour, burst: 10", "999/s"],
)
def test_every_quota_that_check_accepts_passes_its_first_request(text: str) -> None:
    quota = only(f"by: account, quota: {text}")[0].quota
    assert quota is not None
    assert increment_us(1, quota) <= tolerance_us(quota)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("by: account", ": needs a quota, or quotas by tier under tiers"),
        ("by: acount, quota: 1/s", ".by: no such signal; did you mean account?"),
        ("by: globl, quota: 1/s", ".by: no such signal; did you mean global?"),
        ("by: [global, tier], quota: 1/s", ".by: global goes alone"),
        ("by: [account, account_id], quota: 1/s", ".by: names a signal twice"),
        ("by: [], quota: 1/s", ".by: must be a signal, or a list of 1 to 4"),
        ("by: 7, quota: 1/s", ".by: must be a signal, or a list of 1 to 4"),
        ("by: contracts, quota: 1/s", ".by: contracts is a list: limits need single values"),
        ("by: account, quota: 60", ".quota: a rate needs a period: write 60/min"),
        (
            "by: account, quota: 60/fortnight",
            ".quota: '60/fortnight' is no quota: write 60/min, 200k/hour, "
            "or '12 at once' for concurrency",
        ),
        (
            "by: account, quota: 12 at once",
            ".quota: 'at once' is for cost: concurrency; a rate needs a period: 60/min",
        ),
        (
            "by: account, quota: 12/min, cost: concurrency",
            ".quota: concurrency has no period: write 12, or '12 at once'",
        ),
        (
            "by: account, quota: 12, burst: 3, cost: concurrency",
            ".quota: a concurrency quota has no burst",
        ),
        ("by: account, quota: 1M, cost: concurrency", ".quota: at most 100000 at once"),
        ("by: account, quota: 0, cost: concurrency",
         ".quota: '0' must be a whole number from 1 to 1000000000000"),
        (
            "by: account, quota: 1/day, burst: 400",
            ".quota: a burst of 400 at 1/day would take over a year to drain",
        ),
        (
            "by: account, quota: 400M/s, burst: 100, cost: total_tokens",
            ".quota: 400M/s with a burst of 100 is finer than the clock (1 us): "
            "raise the burst to at least 400",
        ),
        (
            "by: account, quota: 100/day, burst: 20, cost: input_tokens",
            ".quota: 100/day tokens cannot hold: one exchange could owe over 100 years; "
            "at least 459/day",
        ),
        ("by: account, quota: 1/s, burst: lots", ".quota: 'lots' is no count: "
         "write 500, 200k or 1.5M"),
        ("by: account, quota: 1/s, burst: true", ".quota: true is no count: "
         "write 500, 200k or 1.5M"),
        ("by: account, quota: 1/s, lease: 10m", ".lease: is for cost: concurrency only"),
        ("by: account, quota: 1, cost: concurrency, lease: 2d", ".lease: must be from 1s to 1d"),
        (
            "by: account, quota: 1, cost: concurrency, lease: soon",
            ".lease: must be a duration such as 30s, 10m, 2h or 7d",
        ),
        (
            "by: account, quota: 1/s, cached_input_weight: 0.1",
            ".cached_input_weight: is for cost: input_tokens or total_tokens only",
        ),
        (
            "by: account, quota: 1/s, cost: total_tokens, cached_input_weight: 1.5",
            ".cached_input_weight: must be at most 1.0",
        ),
        (
            "by: account, quota: 100/s, shards: 4",
            ".shards: is for limits by global, tier, model and the like only",
        ),
        ("by: global, quota: 3/s, shards: 4", ".shards: 4 parts of the quota hold nothing"),
        (
            "by: tier, tiers: {a: {quota: 100/s, burst: 3}}, shards: 4",
            ".shards: 4 parts of the quota hold nothing",
        ),
        ("by: account, tiers: {}", ".tiers: must be a table from tier to quota"),
        ("by: account, tiers: {a: {burst: 3}}", ".tiers.a.quota: is required"),
        (
            "by: account, tiers: {a: {quota: 1/s, brust: 3}}",
            ".tiers.a.brust: no such key; did you mean burst?",
        ),
        ("by: account, tiers: {a: 3}", ".tiers.a: a rate needs a period: write 3/min"),
        (
            "by: account, tiers: {a: 3/s}, burst: 4",
            ".burst: belongs to a quota: write it with that",
        ),
        ("by: account, quota: 1/s, on_unknown: match", ".on_unknown: needs a when"),
        (
            "by: account, quota: 1/s, when: {tier: a}",
            ".when.tier: may be unknown: say on_unknown: match or on_unknown: no_match",
        ),
        ("by: account, quota: 1/s, cost: tokens",
         ".cost: must be requests, input_tokens, output_tokens, total_tokens or concurrency, "
         "not 'tokens'"),
    ],
)  # fmt: skip
def test_a_limit_that_cannot_hold_is_named_with_its_place(rest: str, message: str) -> None:
    assert problems(HEAD + "limits:\n" + limit("one", rest)) == [f"a.yaml:4: limits[0]{message}"]


def test_a_daily_quota_with_hardly_any_burst_is_a_warning() -> None:
    text = HEAD + "limits:\n" + limit("one", "by: account, quota: 1000/day")
    assert problems(text) == [
        "a.yaml:4: limits[0].quota: warning: lets 1 pass at once and then one every 86 s: "
        "say how many may come at once with burst"
    ]


@pytest.mark.parametrize("quota", ["5/min", "5/s", "600/hour", "9/day, burst: 1"])
def test_a_small_burst_that_is_meant_is_no_warning(quota: str) -> None:
    assert problems(HEAD + "limits:\n" + limit("one", f"by: account, quota: {quota}")) == []


def test_a_tier_that_the_policy_does_not_list_is_an_error() -> None:
    text = HEAD + "tiers: [start, scale]\nlimits:\n"
    text += limit("one", "by: account, tiers: {strat: 1/s}")
    assert problems(text) == [
        "a.yaml:5: limits[0].tiers.strat: tier is never 'strat'; did you mean start?"
    ]


def test_the_default_texts_tell_no_number() -> None:
    for cost in Cost:
        quota = "7" if cost is Cost.CONCURRENCY else "7k/min"
        message = only(f"by: cluster, cost: {cost.value}, quota: {quota}")[0].message
        assert message
        assert not any(character.isdigit() for character in message)
        assert "cluster" not in message
