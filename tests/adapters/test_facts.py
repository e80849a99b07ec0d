"""Every fact lands under its own name."""

from __future__ import annotations

from dataclasses import asdict
from ipaddress import ip_address

from gateway.adapters.body import BodyFacts
from gateway.adapters.facts import NO_ORIGIN, build_facts, origin_of, software_of
from gateway.adapters.header_plan import request_plan
from gateway.core.estimate import TokenEstimator
from gateway.core.keyed import KeyedHash, network_bytes
from gateway.model import Route, TaskReading

KEYED = KeyedHash(b"a secret for the facts' tests")
ROUTE = Route(
    "openai.chat_completions", frozenset({"POST"}), ("v1", "chat"), "openai", True, "chat"
)
HEADERS = [
    (b"user-agent", b"OpenAI/Python " + b"2" * 300),
    (b"x-stainless-lang", b"python"),
    (b"x-stainless-package-version", b"2.0.0"),
]


def test_every_fact_lands_under_its_own_name() -> None:
    address = ip_address("203.0.113.7")
    body = BodyFacts(
        model="m-1",
        stream=True,
        items=3,
        message_count=4,
        tool_count=5,
        max_output_tokens=6,
        choices=2,
        temperature=0.25,
        end_user="u-1",
    )
    facts = build_facts(
        decision_id="d-1",
        received_us=7,
        surface="proxy",
        method="POST",
        path="/" + "p" * 300,
        route=ROUTE,
        dialect="openai",
        software=software_of(HEADERS, request_plan(HEADERS)),
        credential="c-1",
        origin=origin_of(address, KEYED),
        body=body,
        body_bytes=420,
        ja4="j-1",
        task=TaskReading("v", "09", (0.5,), 12),
        keyed=KEYED,
        estimator=TokenEstimator(),
    )
    assert asdict(facts) == {
        "decision_id": "d-1",
        "received_us": 7,
        "surface": "proxy",
        "method": "POST",
        "path": ("/" + "p" * 300)[:256],
        "route": "openai.chat_completions",
        "dialect": "openai",
        "is_inference": True,
        "credential": "c-1",
        "client_network": KEYED.address(network_bytes(address)),
        "country": None,
        "asn": None,
        "network_class": None,
        "user_agent": ("OpenAI/Python " + "2" * 300)[:200],
        "sdk": "openai-python/2.0.0",
        "ja4": "j-1",
        "model": "m-1",
        "stream": True,
        "items": 3,
        "body_bytes": 420,
        "message_count": 4,
        "tool_count": 5,
        "max_output_tokens": 6,
        "temperature": 0.25,
        "end_user": KEYED.value("end_user", "u-1"),
        "estimated_input_tokens": 101,
        "estimated_output_tokens": 36,
        "task": {"version": "v", "features": "09", "scores": (0.5,), "workspace": 12},
        "window": None,
        "collecting": None,
    }


def test_what_nobody_vouches_for_and_nobody_said_stays_unknown() -> None:
    assert origin_of(None, KEYED) is NO_ORIGIN
    assert asdict(NO_ORIGIN) == dict.fromkeys(asdict(NO_ORIGIN))
    assert asdict(software_of([], request_plan([]))) == {"user_agent": None, "sdk": None}
