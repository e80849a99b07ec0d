"""Small facts, subjects and policies for the core's tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.model import (
    SECOND_US,
    Cost,
    Identity,
    Limit,
    Mode,
    OnStoreError,
    Policy,
    Quota,
    RequestFacts,
    Rule,
    SignalSpec,
    Subject,
    Verdict,
)

NOW_US = 1_800_000_000 * SECOND_US
SUBJECT = Subject("acc_1", version=7, org_id="org_1", tier="start")
IDENTITY = Identity(SUBJECT, "key_1")
FACTS = RequestFacts(
    decision_id="d" * 26,
    received_us=NOW_US,
    surface="proxy",
    method="POST",
    path="/v1/chat/completions",
    route="openai.chat_completions",
    dialect="openai",
    is_inference=True,
    credential="c" * 32,
    client_network="n" * 32,
    model="m-1",
    estimated_input_tokens=100,
    estimated_output_tokens=50,
)
SIGNALS = (
    SignalSpec("account", str, False, lambda f, s: s.account_id, ""),
    SignalSpec("model", str, True, lambda f, s: f.model, ""),
    SignalSpec("org_id", str, True, lambda f, s: s.org_id, ""),
)


def rule(name: str, verdict: Verdict, mode: Mode = Mode.ENFORCE, **changes: Any) -> Rule:
    plain = Rule(name, "because", mode, lambda values: True, verdict, f"{name} says so")
    return replace(plain, **changes)


def limit(name: str, quota: Quota | None = None, **changes: Any) -> Limit:
    plain = Limit(
        name=name,
        why="because",
        mode=Mode.ENFORCE,
        cost=Cost.REQUESTS,
        scope="a",
        scope_signal=0,
        fields=(),
        quota=quota or Quota(10, 60 * SECOND_US, 10),
        tier_quotas={},
        when=None,
        on_store_error=OnStoreError.ALLOW,
        message="slow down",
    )
    return replace(plain, **changes)


def policy(*parts: Rule | Limit, **changes: Any) -> Policy:
    plain = Policy(
        name="test",
        revision="0" * 12,
        signals=SIGNALS,
        rules=tuple(part for part in parts if isinstance(part, Rule)),
        limits=tuple(part for part in parts if isinstance(part, Limit)),
        routes=(),
        adopts_unknown=False,
        on_store_error=OnStoreError.DENY,
    )
    return replace(plain, **changes)
