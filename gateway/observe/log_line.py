"""One line of the decision log (CONTRACTS §8), and back.

Law: from facts, subject and revision in a line the same decision follows exactly. Law: no prompt
text, no raw key, no address, and of the account only its pseudonym.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import msgspec

from ..core.keyed import KeyedHash
from ..model import (
    VERDICT_TEXT,
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
SUBJECT_NAMES = tuple(
    f.name
    for f in fields(Subject)
    if f.name not in ("account_id", "pseudonym", "org_id", "linked_users", "before_ban")
)
MAX_SUBJECTS = 16_384


_encoder = msgspec.json.Encoder(enc_hook=str)  # for what JSON has no form for; bytes are base64
_dump = _encoder.encode
NO_SIGNALS: dict[str, object] = {}


class _Line(msgspec.Struct, gc=False):
    """In the order of the log. A struct: made and written in C, in a third of the time that a
    dictionary takes."""

    v: int
    id: str
    ts_us: int
    surface: str
    policy: str
    verdict: str
    would_be: str
    reason: str
    status: int
    shadow_all: bool
    degraded: bool | list[str]
    facts: RequestFacts
    subject: msgspec.Raw | None
    signals: object
    findings: list[tuple[object, ...]]
    charges: list[tuple[object, ...]]
    results: list[tuple[bool, int]]
    applied: bool
    decided_us: int | None
    outcome: str
    upstream_status: int | None
    usage: tuple[int | None, int, int | None]
    finished_us: int
    decision_us: int


class _Signals:
    """How the values of one policy's signals are written: a struct of its own, whose fields have
    the signals' names in the log."""

    __slots__ = ("_hidden", "_made", "policy")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        names = [spec.name for spec in policy.signals]
        self._hidden = tuple([i for i, name in enumerate(names) if name in HIDDEN_SIGNALS])
        # A signal may be called what Python has reserved.
        places = [f"signal_{place}" for place in range(len(names))]
        renamed = dict(zip(places, names, strict=True))
        self._made = msgspec.defstruct(
            "Signals", [(place, Any) for place in places], rename=renamed, gc=False
        )

    def of(self, values: Sequence[object], hashed: Callable[[str], str]) -> object:
        hidden = self._hidden
        if hidden:
            shown = list(values)
            for position in hidden:
                if shown[position] is not None:
                    shown[position] = hashed(str(shown[position]))
            values = shown
        return self._made(*values)


class LineEncoder:
    """Writes lines; what stays the same from one exchange of an account to its next is kept."""

    def __init__(self, keyed: KeyedHash) -> None:
        self._keyed = keyed
        self._subjects: dict[str, tuple[Subject, msgspec.Raw]] = {}
        self._hashes: dict[str, str] = {}
        self._shown: _Signals | None = None

    def encode(self, exchange: Exchange, policy: Policy) -> bytes:
        """One line, with its newline."""
        decision, facts, usage = exchange.decision, exchange.facts, exchange.usage
        subject = decision.subject
        line = _Line(  # by position: naming its fields costs as much as all else here
            VERSION,
            decision.decision_id,
            facts.received_us,
            facts.surface,
            decision.policy_revision,
            VERDICT_TEXT[decision.verdict],
            VERDICT_TEXT[decision.would_be],
            decision.reason,
            decision.status,
            decision.shadow_all,
            list(decision.degraded_limits) or decision.degraded,
            facts,
            None if subject is None else self._subject(subject),
            self._signals(policy, decision),
            [_finding(finding) for finding in decision.findings],
            [_charge(planned) for planned in decision.plan],
            [(result.allowed, result.level) for result in decision.results],
            decision.applied,
            decision.decided_us,
            exchange.outcome.value,
            exchange.upstream_status,
            (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens),
            exchange.finished_us,
            exchange.timings.decision_us,
        )
        return _dump(line) + b"\n"

    def _subject(self, subject: Subject) -> msgspec.Raw:
        kept = self._subjects.get(subject.account_id)
        if kept is None or kept[0] is not subject:
            if len(self._subjects) >= MAX_SUBJECTS:
                self._subjects.clear()
            written = msgspec.Raw(_dump(_subject(subject, self._keyed)))
            kept = self._subjects[subject.account_id] = (subject, written)
        return kept[1]

    def _signals(self, policy: Policy, decision: Decision) -> object:
        """Nothing where another policy decided: its values would stand under wrong names."""
        values = decision.values
        if decision.policy_revision != policy.revision or len(values) != len(policy.signals):
            return NO_SIGNALS
        shown = self._shown
        if shown is None or shown.policy is not policy:
            shown = self._shown = _Signals(policy)
        return shown.of(values, self._hashed)

    def _hashed(self, text: str) -> str:
        kept = self._hashes.get(text)
        if kept is None:
            if len(self._hashes) >= MAX_SUBJECTS:
                self._hashes.clear()
            kept = self._hashes[text] = self._keyed.value("signal", text)
        return kept


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
    for name in SUBJECT_NAMES:
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
    known = {name: logged[name] for name in SUBJECT_NAMES if name in logged}
    grants = [
        {"level": _level(name), "granted_us": granted, "expires_us": expires}
        for name, granted, expires in logged.get("grants", ())
    ]
    known |= {"account_id": logged["account"], "org_id": logged.get("org"), "grants": grants}
    return with_changes(msgspec.convert(known, Subject), pseudonym=logged["account"])


def _level(name: str) -> int:
    return Level[name.upper()].value
