"""What data planes tell, read without any of them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.body import ask_for_usage, read_body
from gateway.adapters.data_plane.pending import Pending, PendingExchanges
from gateway.adapters.data_plane.reading import splice_between
from gateway.adapters.data_plane.reports import (
    ReportError,
    of_envoy,
    of_nginx,
    split_ticket,
    usage_of,
)
from gateway.model import Decision, Outcome, RequestFacts, Usage, Verdict

ENVOY = {
    "ticket": "0-d1",
    "status": 200,
    "flags": "-",
    "details": "via_upstream",
    "up_ms": 5,
    "ms": 9,
}
NGINX = {
    "ticket": "0-d1",
    "status": 200,
    "completion": "OK",
    "upstream_status": "200",
    "up_s": "0.005",
    "s": "0.009",
}


def pending(shape: str | None = "chat", decision_id: str = "d1", received_us: int = 0) -> Pending:
    facts = RequestFacts(decision_id, received_us, "ext_authz", "POST", "/v1/x", None, "openai")
    decision = Decision(
        decision_id, Verdict.ALLOW, Verdict.ALLOW, "ok", (), None, None, "rev", received_us
    )
    return Pending(facts, decision, shape, 10)


@pytest.mark.parametrize(
    ("change", "outcome", "usage"),
    [
        ({}, Outcome.COMPLETE, Usage()),
        ({"flags": "DC"}, Outcome.CLIENT_LEFT, Usage()),
        (
            {"flags": "UF,URX", "status": 503, "details": "x", "up_ms": "-"},
            Outcome.UPSTREAM_FAILED,
            None,
        ),
        ({"status": 429}, Outcome.COMPLETE, None),
        ({"status": 0, "flags": "DC", "details": "x", "up_ms": "-"}, Outcome.CLIENT_LEFT, Usage()),
    ],
    ids=["fine", "left", "failed", "the model API's own refusal", "left before any answer"],
)
def test_envoys_words(change: dict[str, Any], outcome: Outcome, usage: Usage | None) -> None:
    report = of_envoy({**ENVOY, **change})
    assert report.outcome is outcome
    assert usage_of(report, pending()) == usage


@pytest.mark.parametrize(
    ("change", "outcome", "usage"),
    [
        ({}, Outcome.COMPLETE, Usage()),
        ({"status": 499}, Outcome.CLIENT_LEFT, Usage()),
        ({"completion": ""}, Outcome.CLIENT_LEFT, Usage()),
        ({"status": 502, "upstream_status": "502", "up_s": ""}, Outcome.UPSTREAM_FAILED, None),
        ({"status": 429, "upstream_status": "429"}, Outcome.COMPLETE, None),
    ],
    ids=["fine", "left", "left a stream", "failed", "the model API's own refusal"],
)
def test_nginxs_words(change: dict[str, Any], outcome: Outcome, usage: Usage | None) -> None:
    report = of_nginx({**NGINX, **change})
    assert report.outcome is outcome
    assert usage_of(report, pending()) == usage


def test_usage_is_read_in_each_dialect() -> None:
    seen = '{"usages":["{\\"prompt_tokens\\":7,\\"completion_tokens\\":3}"],"is_read":true}'
    assert usage_of(of_envoy({**ENVOY, "seen": seen}), pending()) == Usage(7, 0, 3)
    seen = '{"usages":["{\\"input_tokens\\":7,\\"output_tokens\\":3}"],"is_read":true}'
    assert usage_of(of_envoy({**ENVOY, "seen": seen}), pending("messages")) == Usage(7, 0, 3)
    assert usage_of(of_envoy(ENVOY), pending("count_tokens")) == Usage(input_tokens=0)


def test_nginx_tells_the_same_as_an_object_in_its_line() -> None:
    seen = {"usages": ['{"prompt_tokens":7,"completion_tokens":3}'], "is_read": True}
    assert usage_of(of_nginx({**NGINX, "seen": seen}), pending()) == Usage(7, 0, 3)
    assert usage_of(of_nginx({**NGINX, "seen": None}), pending()) == Usage()
    with pytest.raises(ReportError):
        of_nginx({**NGINX, "seen": {"usages": 3}})


def test_a_stream_that_broke_off_is_estimated_by_its_head_wherever_that_is_told() -> None:
    head = 'data: {"choices":[{"delta":{"content":"abcdefgh"}}]}\n\n' * 4
    seen = {"is_stream": True, "is_read": True, "events": 90, "size": 90 * len(head) // 4}
    told = msgspec.json.encode(seen).decode()
    by_envoy = usage_of(of_envoy({**ENVOY, "flags": "DC", "seen": told, "head": head}), pending())
    by_nginx = usage_of(of_nginx({**NGINX, "seen": {**seen, "head": head}}), pending())
    assert by_envoy == by_nginx
    assert by_envoy is not None
    assert by_envoy.output_tokens == 90 * len("abcdefgh") // 4


@pytest.mark.parametrize("seconds", ["-1", "-0.001"])
def test_a_time_before_the_beginning_is_none(seconds: str) -> None:
    report = of_nginx({**NGINX, "s": seconds, "up_s": seconds})
    assert (report.request_us, report.upstream_us) == (0, None)


@pytest.mark.parametrize("ticket", ["", "x-d1", "-d1", "1-", "1" * 70 + "-d", "99999-d1"])
def test_a_strange_ticket_is_an_error(ticket: str) -> None:
    with pytest.raises(ReportError):
        split_ticket(ticket)


STRANGE = (
    "",
    "-",
    "x",
    "{",
    "²",
    "1:2",
    None,
    7,
    -1,
    10**20,
    "[]",
    '{"usages":3}',
    '{"events":"x"}',
)


@given(
    st.dictionaries(st.sampled_from([*ENVOY, *NGINX, "seen"]), st.sampled_from(STRANGE), max_size=5)
)
def test_what_cannot_be_read_is_an_error_and_nothing_else(told: dict[str, Any]) -> None:
    """And what can be read is within its bounds, and never more tokens than were told."""
    for read in (of_envoy, of_nginx):
        try:
            report = read(told)
        except ReportError:
            continue
        assert report.ticket == told["ticket"]
        assert report.request_us >= 0
        assert report.upstream_us is None or report.upstream_us >= 0
        assert usage_of(report, pending()) in (None, Usage())


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","stream":true}',
        b' {"stream":true,"stream_options":{},"model":"m"}',
        b'{"stream":true,"stream_options":null,"model":"m"}',
        b'{"stream":true,"stream_options":{"include_usage":false,"x":1},"model":"m"}',
        b'{"stream":true,"stream_options":{"x":1},"model":"m","messages":[]}',
    ],
)
def test_a_splice_makes_the_body_that_a_proxy_would_send(body: bytes) -> None:
    asked = ask_for_usage(body, read_body(body, "chat"))
    splice = splice_between(body, asked)
    assert body[: splice.start] + splice.text + body[splice.end :] == asked
    assert len(splice.text) < 64


class Finished:
    """Keeps what was finished."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Outcome, Usage | None]] = []

    async def __call__(
        self, facts: RequestFacts, decision: Decision, *, outcome: Outcome, **more: Any
    ) -> None:
        self.told.append((decision.decision_id, outcome, more.get("usage")))


def test_what_is_never_reported_is_given_up_once_and_keeps_its_estimate() -> None:
    async def run() -> None:
        finished = Finished()
        open_ones = PendingExchanges(finished, age_us=100, size=2)
        for number in range(3):
            await open_ones.add(pending(decision_id=f"d{number}", received_us=number))
        assert finished.told == [("d0", Outcome.UNSETTLED, Usage())]
        assert open_ones.take("d0") is None
        assert open_ones.take("d1") is not None
        await open_ones.sweep(101)
        assert len(open_ones) == 1
        await open_ones.sweep(102)
        assert [one[0] for one in finished.told] == ["d0", "d2"]
        assert (len(open_ones), open_ones.unsettled) == (0, 2)

    asyncio.run(run())
