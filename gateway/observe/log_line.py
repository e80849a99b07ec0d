"""One line of the decision log (CONTRACTS §8), and back.

Law: from facts, subject and revision in a line the same decision follows exactly. Law: no prompt
text, no raw key, no address, and of the account only its pseudonym.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import msgspec
import orjson

from ..core.keyed import KeyedHash
from ..model import Exchange, Policy, RequestFacts, Subject

VERSION = 1
HIDDEN_SIGNALS = frozenset({"account", "account_id", "key", "key_id", "org", "org_id"})
_FACT_NAMES = tuple(f.name for f in fields(RequestFacts))
_FACT_DEFAULTS = {f.name: f.default for f in fields(RequestFacts)}
_SUBJECT_DEFAULTS = {f.name: f.default for f in fields(Subject)}
_SUBJECT_NAMES = tuple(
    f.name for f in fields(Subject) if f.name not in ("account_id", "pseudonym", "org_id")
)
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS


def encode_line(exchange: Exchange, policy: Policy, keyed: KeyedHash) -> bytes:
    """The line, with its newline."""
    decision, facts, usage = exchange.decision, exchange.facts, exchange.usage
    line = {
        "v": VERSION,
        "id": decision.decision_id,
        "ts_us": facts.received_us,
        "surface": facts.surface,
        "policy": decision.policy_revision,
        "verdict": decision.verdict.text,
        "would_be": decision.would_be.text,
        "reason": decision.reason,
        "status": decision.status,
        "shadow_all": decision.shadow_all,
        "degraded": list(decision.degraded_limits)
        if decision.degraded_limits
        else decision.degraded,
        "facts": _facts(facts),
        "subject": None if decision.subject is None else _subject(decision.subject, keyed),
        "signals": _signals(policy, decision.values, keyed),
        "findings": [
            [
                f.rule,
                f.verdict.text,
                f.mode.value,
                f.retry_after_us,
                None if f.level is None else f.level.name.lower(),
            ]
            for f in decision.findings
        ],
        "charges": [
            [
                p.limit.name,
                p.step.effect.value,
                p.quota.limit,
                p.quota.period_us,
                p.quota.burst,
                p.step.amount,
                p.step.ceiling,
            ]
            for p in decision.plan
        ],
        "results": [[r.allowed, r.level] for r in decision.results],
        "applied": decision.applied,
        "decided_us": decision.decided_us,
        "outcome": exchange.outcome.value,
        "upstream_status": exchange.upstream_status,
        "usage": [usage.input_tokens, usage.cached_input_tokens, usage.output_tokens],
        "finished_us": exchange.finished_us,
        "decision_us": exchange.timings.decision_us,
    }
    return orjson.dumps(line, default=str, option=_OPTIONS) + b"\n"


def _facts(facts: RequestFacts) -> dict[str, Any]:
    """What differs from the defaults."""
    kept = {}
    for name in _FACT_NAMES:
        value = getattr(facts, name)
        if value is not None and value != _FACT_DEFAULTS[name]:
            kept[name] = value
    return kept


def _subject(subject: Subject, keyed: KeyedHash) -> dict[str, Any]:
    kept: dict[str, Any] = {
        "account": subject.pseudonym or keyed.value("stranger", subject.account_id)
    }
    if subject.org_id is not None:
        kept["org"] = keyed.value("org", subject.org_id)
    for name in _SUBJECT_NAMES:
        value = getattr(subject, name)
        if value != _SUBJECT_DEFAULTS[name] and value not in ((), {}):
            kept[name] = value
    if subject.grants:
        kept["grants"] = [
            [g.level.name.lower(), g.granted_us, g.expires_us] for g in subject.grants
        ]
    return kept


def _signals(policy: Policy, values: tuple[object, ...], keyed: KeyedHash) -> dict[str, object]:
    if len(values) != len(policy.signals):  # decided by an older policy, or before any signal
        return {}
    return {
        spec.name: _shown(spec.name, value, keyed)
        for spec, value in zip(policy.signals, values, strict=True)
    }


def _shown(name: str, value: object, keyed: KeyedHash) -> object:
    if name in HIDDEN_SIGNALS and value is not None:
        return keyed.value("signal", str(value))
    return value


def facts_of(line: dict[str, Any]) -> RequestFacts:
    """The facts as they were; raises msgspec.ValidationError for what is no line of ours."""
    return msgspec.convert(line["facts"], RequestFacts)


def subject_of(line: dict[str, Any]) -> Subject | None:
    """The subject as the policy saw it, under its pseudonym instead of its account id."""
    logged = line.get("subject")
    if logged is None:
        return None
    known = {name: logged[name] for name in _SUBJECT_NAMES if name in logged}
    grants = [
        {"level": _level(name), "granted_us": granted, "expires_us": expires}
        for name, granted, expires in logged.get("grants", ())
    ]
    known |= {"account_id": logged["account"], "org_id": logged.get("org"), "grants": grants}
    return replace(msgspec.convert(known, Subject), pseudonym=logged["account"])


def _level(name: str) -> int:
    from ..model import Level

    return Level[name.upper()].value
