"""A plan says of a list of names what looking at each header says, and costs a bounded cache."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.data_plane.reading import head_plan
from gateway.adapters.header_plan import (
    CREDENTIAL_HEADERS,
    MAX_PLANNED_NAMES,
    MAX_PLANS,
    SINGLE,
    Plans,
    RequestPlan,
    request_plan,
    response_plan,
)

Headers = list[tuple[bytes, bytes]]
NAMES = sorted(
    SINGLE
    | {
        b"accept",
        b"accept-encoding",
        b"connection",
        b"forwarded",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"upgrade",
        b"alt-svc",
        b"user-agent",
        b"x-forwarded-for",
        b"x-hydragate-mode",
        b"x-real-ip",
        b"x-request-id",
    }
)
heads = st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=4)), max_size=90)
NEVER_FORWARDED = {
    *(b"connection", b"te", b"trailer", b"upgrade", b"transfer-encoding", b"host"),
    *(b"content-length", b"expect", b"forwarded", b"x-real-ip", b"x-forwarded-for"),
    *(b"proxy-authorization", b"x-hydragate-mode"),
}
NEVER_RETURNED = {
    *(b"connection", b"te", b"trailer", b"upgrade", b"transfer-encoding", b"alt-svc"),
    *(b"proxy-authorization", b"x-hydragate-mode"),
}


@given(heads)
def test_a_plan_equals_looking_at_each_header(headers: Headers) -> None:
    plan = request_plan(headers)
    names = [name for name, _ in headers]
    assert [names[i] for i in plan.forwarded] == [n for n in names if n not in NEVER_FORWARDED]
    keyless = [n for n in names if n not in NEVER_FORWARDED | CREDENTIAL_HEADERS]
    assert [names[i] for i in plan.forwarded_keyless] == keyless
    assert [names[i] for i in plan.credentials] == [n for n in names if n in CREDENTIAL_HEADERS]
    assert [names[i] for i in plan.connections] == [n for n in names if n == b"connection"]
    for name in NAMES:
        expected = [value for found, value in headers if found == name]
        assert plan.value(headers, name) == (expected[-1] if expected else None)
    repeated = [n for n in names if n in SINGLE and names.count(n) > 1]
    assert plan.duplicate == (repeated[0] if repeated else None)


@given(heads)
def test_what_describes_the_body_is_left_out_and_nothing_else(headers: Headers) -> None:
    body = {b"content-length", b"content-encoding", b"content-type", b"transfer-encoding"}
    body.add(b"accept-encoding")
    kept = [headers[i] for i in request_plan(headers).beside_body]
    assert kept == [pair for pair in headers if pair[0] not in body]


@given(heads)
def test_an_answers_plan_equals_looking_at_each_header(headers: Headers) -> None:
    kept = [headers[i] for i in response_plan(headers).returned]
    assert kept == [pair for pair in headers if pair[0] not in NEVER_RETURNED]


def test_equal_names_share_a_plan_whatever_their_values() -> None:
    first = request_plan([(b"host", b"a"), (b"accept", b"b")])
    assert request_plan([(b"host", b"c"), (b"accept", b"d")]) is first
    assert request_plan([(b"accept", b"d"), (b"host", b"c")]) is not first


@pytest.mark.parametrize("plan_of", [request_plan, response_plan, head_plan])
def test_names_that_callers_make_up_fill_no_more_than_the_cache(
    plan_of: Callable[[Headers], object],
) -> None:
    plans = getattr(plan_of, "__self__", None)
    assert isinstance(plans, Plans)
    for n in range(MAX_PLANS + 50):
        plan_of([(b"x-%d" % n, b"")])
        assert 1 <= len(plans) <= MAX_PLANS


def test_a_long_head_is_planned_and_not_kept() -> None:
    long = [(b"x-long-%d" % n, b"") for n in range(MAX_PLANNED_NAMES + 1)]
    plan = request_plan(long)
    assert isinstance(plan, RequestPlan)
    assert len(plan.forwarded) == len(long)
    assert request_plan(long) is not plan
