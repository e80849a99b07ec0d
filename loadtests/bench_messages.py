"""What reading and writing HTTP messages costs: bodies, usage, headers, answers.

Run: python -m hydragate.loadtests.bench_messages. Medians in microseconds on one core; the
budget column is the most that the hot path plans for (none: off the hot path).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns
from typing import Any

from ..adapters.body import ask_for_usage, read_body
from ..adapters.client import TrustedEdge, networks
from ..adapters.headers import (
    check_headers,
    client_address,
    credential_of,
    request_headers,
    request_plan,
    response_headers,
    sdk_of,
)
from ..adapters.limit_headers import merge_limit_headers, tell_limits
from ..adapters.render import render_decision
from ..adapters.routes import RouteTable
from ..adapters.usage import UsageReader
from ..core.keyed import KeyedHash
from ..model import SECOND_US, Cost, Decision, LimitState, Quota, RequestFacts, Route, Verdict

BATCH_NS = 2_000_000
BATCHES = 61
WARM_EVENTS = 16
SSE = b"text/event-stream"


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure; `budget_us` None: it has none."""

    name: str
    work: Callable[[], object]
    budget_us: float | None = None


def median_us(work: Callable[[], object]) -> float:
    """Median over batches of about two milliseconds each."""
    work()
    started_ns = perf_counter_ns()
    work()
    rounds = max(1, BATCH_NS // max(1, perf_counter_ns() - started_ns))
    samples = []
    for _ in range(BATCHES):
        started_ns = perf_counter_ns()
        for _ in range(rounds):
            work()
        samples.append((perf_counter_ns() - started_ns) / rounds)
    return median(samples) / 1000


def chat_body(size_bytes: int, **spacing: Any) -> bytes:
    turn = {"role": "user", "content": 'Please explain this "line" of code.\n' * 8}
    messages = [turn] * (size_bytes // len(json.dumps(turn)))
    body = {"model": "m-1", "messages": messages, "stream": True, "max_tokens": 500, "user": "u-1"}
    return json.dumps(body, **spacing).encode()


def body_cases() -> list[Case]:
    cases = []
    for size_kb, budget_us in ((2, 5.0), (20, 25.0), (200, 150.0)):
        compact = chat_body(size_kb * 1000, separators=(",", ":"))
        spaced = chat_body(size_kb * 1000)
        facts = read_body(compact, "chat")
        cases += [
            _read_case(f"read body, {size_kb} KB compact", compact, budget_us),
            _read_case(f"read body, {size_kb} KB with spaces", spaced, None),
            _splice_case(f"ask for usage, {size_kb} KB", compact, facts),
        ]
    return cases


def _read_case(name: str, raw: bytes, budget_us: float | None) -> Case:
    return Case(f"{name} ({len(raw)} B)", lambda: read_body(raw, "chat"), budget_us)


def _splice_case(name: str, raw: bytes, facts: Any) -> Case:
    return Case(name, lambda: ask_for_usage(raw, facts))


def usage_cases() -> list[Case]:
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": " hello"}}], "usage": None}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"text": " hello"}}
    chat = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    anthropic = b"event: content_block_delta\ndata: " + json.dumps(delta).encode() + b"\n\n"
    usage = {"prompt_tokens": 9, "completion_tokens": 9}
    answer = json.dumps({"choices": [{"message": "x" * 1000}], "usage": usage}).encode()

    def whole_stream() -> None:
        reader = _reader("chat", SSE, hides_usage=True)
        for _ in range(50):
            reader.feed(chat)
        reader.finish()

    def whole_json() -> None:
        reader = _reader("chat", b"application/json")
        reader.feed(answer)
        reader.finish()
        reader.usage(estimated_input_tokens=1)

    halves = _warm("chat", chat, hides_usage=True)
    return [
        _feed_case("feed one chat event", _warm("chat", chat), chat, 2.0),
        _feed_case("feed one chat event, usage hidden", halves, chat, 2.0),
        _feed_case("feed one Anthropic event", _warm("messages", anthropic), anthropic, 2.0),
        Case("feed half an event twice", lambda: (halves.feed(chat[:40]), halves.feed(chat[40:]))),
        Case("a stream of 50 events", whole_stream),
        Case("a JSON answer of 1 KB", whole_json),
    ]


def _reader(shape: str, content_type: bytes, *, hides_usage: bool = False) -> UsageReader:
    return UsageReader(
        shape, content_type=content_type, content_encoding=b"", hides_usage=hides_usage
    )


def _warm(shape: str, event: bytes, *, hides_usage: bool = False) -> UsageReader:
    """A reader past the first events, which it looks at more closely."""
    reader = _reader(shape, SSE, hides_usage=hides_usage)
    for _ in range(WARM_EVENTS):
        reader.feed(event)
    return reader


def _feed_case(name: str, reader: UsageReader, event: bytes, budget_us: float) -> Case:
    return Case(f"{name} ({len(event)} B)", lambda: reader.feed(event), budget_us)


def header_cases() -> list[Case]:
    headers = [
        (b"host", b"gateway:8080"),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"gzip, deflate"),
        (b"connection", b"keep-alive"),
        (b"user-agent", b"OpenAI/Python 2.0.0"),
        (b"x-stainless-lang", b"python"),
        (b"x-stainless-package-version", b"2.0.0"),
        (b"x-stainless-os", b"Linux"),
        (b"x-stainless-arch", b"x64"),
        (b"x-stainless-runtime", b"CPython"),
        (b"x-stainless-retry-count", b"0"),
        (b"authorization", b"Bearer sk-0123456789abcdef0123456789abcdef"),
        (b"content-type", b"application/json"),
        (b"content-length", b"2000"),
        (b"x-forwarded-for", b"203.0.113.7, 10.0.0.9"),
    ]
    answer = headers[4:13]
    keyed, nobody = KeyedHash(b"a benchmark's secret"), TrustedEdge()
    edge = TrustedEdge(networks(["10.0.0.0/8"]))
    return [
        Case("check request headers (15)", lambda: check_headers(headers, request_plan(headers))),
        Case(
            "credential to keyed hash",
            lambda: credential_of(
                headers, ("203.0.113.7", 1), nobody, keyed, request_plan(headers)
            ),
        ),
        Case(
            "client address, no proxy", lambda: client_address(("203.0.113.7", 1), headers, nobody)
        ),
        Case("client address, two proxies", lambda: client_address(("10.0.0.1", 1), headers, edge)),
        Case("SDK", lambda: sdk_of(headers, request_plan(headers))),
        Case("request headers to forward", lambda: request_headers(headers)),
        Case("response headers to return (9)", lambda: response_headers(answer)),
    ]


def answer_cases() -> list[Case]:
    limits = tuple(
        [
            LimitState("n", cost, Quota(600, 60 * SECOND_US, 600), 7, 5)
            for cost in (Cost.REQUESTS, Cost.TOTAL_TOKENS)
        ]
    )
    decision = Decision(
        decision_id="d" * 26,
        verdict=Verdict.THROTTLE,
        would_be=Verdict.THROTTLE,
        reason="r",
        findings=(),
        subject=None,
        key_id=None,
        policy_revision="r",
        decided_us=1_800_000_000 * SECOND_US,
        status=429,
        retry_after_us=SECOND_US,
    )
    facts = RequestFacts("d" * 26, 0, "proxy", "POST", "/", None, "openai")
    theirs = [(b"content-type", b"application/json"), (b"date", b"x"), (b"server", b"x")]

    def refuse() -> object:
        return render_decision(decision, facts, request_id="r", appeal=None, verification_url=None)

    def add_limits() -> object:
        return merge_limit_headers(theirs, tell_limits(limits, decision, "openai"))

    return [Case("limit headers onto an answer", add_limits), Case("a whole refusal", refuse)]


def route_cases() -> list[Case]:
    shapes = {"chat": "v1/chat/completions", "model": "v1/models/*", "messages": "v1/messages"}
    table = RouteTable(
        [
            Route(name, frozenset({"POST"}), tuple(path.split("/")), "openai", True, None)
            for name, path in shapes.items()
        ]
    )
    return [
        Case("match a literal route", lambda: table.match("POST", b"/v1/chat/completions", "")),
        Case("match a wildcard route", lambda: table.match("POST", b"/v1/models/m-1", "")),
        Case("match nothing", lambda: table.match("POST", b"/v1/other/thing", "")),
    ]


def measure() -> list[tuple[Case, float]]:
    cases = body_cases() + usage_cases() + header_cases() + answer_cases() + route_cases()
    return [(case, median_us(case.work)) for case in cases]


def main() -> None:
    print(f"{'what':<46}{'median us':>11}{'budget us':>11}")
    for case, us in measure():
        budget = "" if case.budget_us is None else f"{case.budget_us:g}"
        print(f"{case.name:<46}{us:>11.2f}{budget:>11}")


if __name__ == "__main__":
    main()
