from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.limit_headers import duration, merge_limit_headers, tell_limits
from gateway.model import SECOND_US, Cost, Decision, LimitState, Quota, Verdict

NOW_US = 1_800_000_000 * SECOND_US  # 2027-01-15T08:00:00Z
PER_MINUTE = Quota(600, 60 * SECOND_US, 100)
DECISION = Decision(
    decision_id="d" * 26,
    verdict=Verdict.ALLOW,
    would_be=Verdict.ALLOW,
    reason="ok",
    findings=(),
    subject=None,
    key_id=None,
    policy_revision="r" * 12,
    decided_us=NOW_US,
)


def state(cost: Cost = Cost.REQUESTS, remaining: int = 99, **changes: Any) -> LimitState:
    plain = LimitState("secret-name", cost, PER_MINUTE, remaining, 100_000)
    return replace(plain, **changes)


def told(dialect: str, *limits: LimitState, **changes: Any) -> dict[str, str]:
    headers = tell_limits(limits, replace(DECISION, **changes), dialect)
    assert len(dict(headers)) == len(headers)
    return {name.decode(): value.decode() for name, value in headers}


def test_openai_callers_see_requests_and_tokens() -> None:
    """The draft's fields come with a throttle; on every answer they would cost and help nobody."""
    limits = (state(), state(Cost.TOTAL_TOKENS, 7, reset_after_us=61 * SECOND_US))
    vendor = {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "99",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "7",
        "x-ratelimit-reset-tokens": "1m1s",
    }
    assert told("openai", *limits) == vendor
    assert told("openai", *limits, verdict=Verdict.THROTTLE) == {
        **vendor,
        "ratelimit-policy": '"requests";q=600;w=60, "tokens";q=600;qu="tokens";w=60',
        "ratelimit": '"requests";r=99;t=1, "tokens";r=7;t=61',
    }


def test_anthropic_callers_see_input_and_output_tokens_apart() -> None:
    headers = told(
        "anthropic",
        state(),
        state(Cost.INPUT_TOKENS, 5),
        state(Cost.OUTPUT_TOKENS, 6, reset_after_us=1),
        state(Cost.TOTAL_TOKENS, 7, reset_after_us=0),
    )
    vendor = {name: value for name, value in headers.items() if name.startswith("anthropic-")}
    assert vendor == {
        f"anthropic-ratelimit-{kind}-{field}": value
        for kind, values in {
            "requests": ("100", "99", "2027-01-15T08:00:01Z"),
            "input-tokens": ("100", "5", "2027-01-15T08:00:01Z"),
            "output-tokens": ("100", "6", "2027-01-15T08:00:01Z"),
            "tokens": ("100", "7", "2027-01-15T08:00:00Z"),
        }.items()
        for field, value in zip(("limit", "remaining", "reset"), values, strict=True)
    }


def test_other_callers_see_the_ietf_fields_alone() -> None:
    concurrency = state(Cost.CONCURRENCY, 3, quota=Quota(8, 0, 8), reset_after_us=0)
    assert told("problem", concurrency, state(Cost.INPUT_TOKENS, 5)) == {
        "ratelimit-policy": '"concurrency";q=8;qu="concurrent-requests", '
        '"input-tokens";q=600;qu="tokens";w=60',
        "ratelimit": '"concurrency";r=3, "input-tokens";r=5;t=1',
    }


@given(
    st.lists(
        st.builds(
            LimitState,
            st.just("cluster-secret"),
            st.sampled_from(list(Cost)),
            st.builds(Quota, st.integers(1, 10**18), st.integers(0, 10**10), st.integers(1, 10**9)),
            st.integers(0, 10**9),
            st.integers(0, 10**12),
        ),
        max_size=6,
    ),
    st.sampled_from(["openai", "anthropic", "problem"]),
)
def test_headers_tell_numbers_of_the_given_limits_and_no_name(
    limits: list[LimitState], dialect: str
) -> None:
    headers = told(dialect, *limits)
    assert "secret" not in str(headers)
    remaining = {str(limit.remaining) for limit in limits}
    assert {v for name, v in headers.items() if "-remaining" in name} <= remaining
    assert all(value.isascii() and value.isprintable() for value in headers.values())


def test_the_limit_with_the_least_remaining_is_the_one_told() -> None:
    wide = Quota(10_000, 3600 * SECOND_US, 10_000)
    tight, loose = state(remaining=20), state(remaining=500, quota=wide)
    for limits in ((tight, loose), (loose, tight)):
        assert told("openai", *limits)["x-ratelimit-limit-requests"] == "100"
    drained = state(remaining=19, quota=wide)
    assert told("openai", tight, drained)["x-ratelimit-limit-requests"] == "10000"


def test_openai_tokens_are_total_tokens_only() -> None:
    assert not [name for name in told("openai", state(Cost.INPUT_TOKENS)) if "tokens" in name[:30]]


def test_a_window_never_ends_after_the_wait_that_is_named() -> None:
    slow = state(remaining=0, reset_after_us=90 * SECOND_US)
    throttled = {"verdict": Verdict.THROTTLE, "retry_after_us": 2 * SECOND_US}
    assert told("problem", slow)["ratelimit"] == '"requests";r=0;t=90'
    assert told("problem", slow, **throttled)["ratelimit"] == '"requests";r=0;t=2'
    never = {"verdict": Verdict.THROTTLE, "retry_after_us": -1}
    assert told("problem", slow, **never)["ratelimit"] == '"requests";r=0;t=90'


def test_what_a_structured_field_cannot_say_is_left_out() -> None:
    assert told("problem", state(quota=Quota(10**15, SECOND_US, 5))) == {}
    half_seconds = state(quota=Quota(5, SECOND_US // 2, 5))
    assert told("problem", half_seconds)["ratelimit-policy"] == '"requests";q=5'


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, b"0s"),
        (1, b"1ms"),
        (20_000, b"20ms"),
        (999_001, b"1s"),
        (8_640_000, b"8.64s"),
        (60_000_000, b"1m0s"),
        (90_500_000, b"1m30.5s"),
        (3_600_000_000, b"1h0m0s"),
        (7_201_050_000, b"2h0m1.05s"),
    ],
)
def test_durations_are_written_as_openai_writes_them(us: int, text: bytes) -> None:
    assert duration(us) == text


# ── beside the upstream's own ────────────────────────────────────────────────────────────────

PLAIN = [(b"content-type", b"application/json"), (b"retry-after", b"3")]


def triple(remaining: bytes, kind: bytes = b"requests", who: bytes = b"1") -> Any:
    return [
        (b"x-ratelimit-limit-" + kind, who),
        (b"x-ratelimit-remaining-" + kind, remaining),
        (b"x-ratelimit-reset-" + kind, who + b"s"),
    ]


MERGED = [
    pytest.param([], triple(b"5"), triple(b"5"), id="only-ours"),
    pytest.param(triple(b"5"), [], triple(b"5"), id="only-theirs"),
    pytest.param(triple(b"5", who=b"8"), triple(b"9"), triple(b"5", who=b"8"), id="theirs-less"),
    pytest.param(triple(b"9", who=b"8"), triple(b"5"), triple(b"5"), id="ours-less"),
    pytest.param(triple(b"5", who=b"8"), triple(b"5"), triple(b"5"), id="ours-when-equal"),
    pytest.param(triple(b"many", who=b"8"), triple(b"5"), triple(b"5"), id="theirs-unreadable"),
    pytest.param(triple(b"-1", who=b"8"), triple(b"5"), triple(b"5"), id="theirs-negative"),
    pytest.param(
        triple(b"1", b"tokens"), triple(b"5"), triple(b"1", b"tokens") + triple(b"5"), id="kinds"
    ),
    pytest.param(
        triple(b"1", b"tokens", b"8") + triple(b"9", who=b"8"),
        triple(b"5", b"tokens") + triple(b"5"),
        triple(b"1", b"tokens", b"8") + triple(b"5"),
        id="each-kind-by-itself",
    ),
    pytest.param(
        [(b"anthropic-ratelimit-tokens-remaining", b"3")],
        [
            (b"anthropic-ratelimit-tokens-limit", b"9"),
            (b"anthropic-ratelimit-tokens-remaining", b"4"),
        ],
        [(b"anthropic-ratelimit-tokens-remaining", b"3")],
        id="anthropic-never-mixed",
    ),
    pytest.param(
        [(b"ratelimit", b'"x";r=1')],
        [(b"ratelimit", b'"y";r=2')],
        [(b"ratelimit", b'"x";r=1'), (b"ratelimit", b'"y";r=2')],
        id="ietf-lists-add-up",
    ),
]


@pytest.mark.parametrize(("theirs", "ours", "merged"), MERGED)
def test_the_caller_sees_the_stricter_of_both_and_never_a_mixture(
    theirs: Any, ours: Any, merged: Any
) -> None:
    assert merge_limit_headers(PLAIN + theirs, ours) == PLAIN + merged
