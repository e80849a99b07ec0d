"""One line of the decision log (CONTRACTS §8), and back.

Law: from facts, subject and revision in a line the same decision follows exactly. Law: no prompt
text, no raw key, no address, and of the account only its pseudonym.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import fields
from typing import Any

import msgspec
import orjson

from ..core.keyed import KeyedHash
from ..model import (
    Decision,
    Exchange,
    Finding,
    Level,
    PlannedStep,
    Policy,
    RequestFacts,
    Subject,
    with_changes,
)

VERSION = 1
HIDDEN_SIGNALS = frozenset({"account", "account_id", "key", "key_id", "org", "org_id"})
_SUBJECT_DEFAULTS = {f.name: f.default for f in fields(Subject)}
_SUBJECT_NAMES = tuple(
    f.name
    for f in fields(Subject)
    if f.name not in ("account_id", "pseudonym", "org_id", "linked_users")
)
MAX_SUBJECTS = 16_384


class LineEncoder:
    """Writes lines; what stays the same from one exchange of an account to its next is kept."""

    def __init__(self, keyed: KeyedHash) -> None:
        self._keyed = keyed
        self._subjects: dict[str, tuple[Subject, orjson.Fragment]] = {}
        self._hashes: dict[str, str] = {}
        self._hidden: tuple[Policy, tuple[int, ...], tuple[str, ...]] | None = None

    def encode(self, exchange: Exchange, policy: Policy) -> bytes:
        """One line, with its newline."""
        decision, facts, usage = exchange.decision, exchange.facts, exchange.usage
        subject = decision.subject
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
            "degraded": list(decision.degraded_limits) or decision.degraded,
            "facts": facts,  # orjson writes dataclasses field by field
            "subject": None if subject is None else self._subject(subject),
            "signals": self._signals(policy, decision),
            "findings": [_finding(finding) for finding in decision.findings],
            "charges": [_charge(planned) for planned in decision.plan],
            "results": [(result.allowed, result.level) for result in decision.results],
            "applied": decision.applied,
            "decided_us": decision.decided_us,
            "outcome": exchange.outcome.value,
            "upstream_status": exchange.upstream_status,
            "usage": (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens),
            "finished_us": exchange.finished_us,
            "decision_us": exchange.timings.decision_us,
        }
        return orjson.dumps(line, default=_text, option=orjson.OPT_APPEND_NEWLINE)

    def _subject(self, subject: Subject) -> orjson.Fragment:
        kept = self._subjects.get(subject.account_id)
        if kept is None or kept[0] is not subject:
            if len(self._subjects) >= MAX_SUBJECTS:
                self._subjects.clear()
            fragment = orjson.Fragment(orjson.dumps(_subject(subject, self._keyed)))
            kept = self._subjects[subject.account_id] = (subject, fragment)
        return kept[1]

    def _signals(self, policy: Policy, decision: Decision) -> dict[str, object]:
        """Nothing where another policy decided: its values would stand under wrong names."""
        values = decision.values
        if decision.policy_revision != policy.revision or len(values) != len(policy.signals):
            return {}
        if self._hidden is None or self._hidden[0] is not policy:
            names = tuple(spec.name for spec in policy.signals)
            hidden = tuple(i for i, name in enumerate(names) if name in HIDDEN_SIGNALS)
            self._hidden = (policy, hidden, names)
        _, positions, names = self._hidden
        shown = dict(zip(names, values, strict=True))
        for position in positions:
            if values[position] is not None:
                shown[names[position]] = self._hashed(str(values[position]))
        return shown

    def _hashed(self, text: str) -> str:
        kept = self._hashes.get(text)
        if kept is None:
            if len(self._hashes) >= MAX_SUBJECTS:
                self._hashes.clear()
            kept = self._hashes[text] = self._keyed.value("signal", text)
        return kept


def _text(value: object) -> str:
    """What JSON has no form for; bytes as `facts_of` reads them."""
    return b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _finding(finding: Finding) -> tuple[object, ...]:
    level = None if finding.level is None else finding.level.name.lower()
    return (finding.rule, finding.verdict.text, finding.mode, finding.retry_after_us, level)


def _charge(planned: PlannedStep) -> tuple[object, ...]:
    step, quota = planned.step, planned.quota
    return (
        planned.limit.name,
        step.effect,
        quota.limit,
        quota.period_us,
        quota.burst,
        step.amount,
        step.ceiling,
    )


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
            [grant.level.name.lower(), grant.granted_us, grant.expires_us]
            for grant in subject.grants
        ]
    return kept


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
    return with_changes(msgspec.convert(known, Subject), pseudonym=logged["account"])


def _level(name: str) -> int:
    return Level[name.upper()].value
