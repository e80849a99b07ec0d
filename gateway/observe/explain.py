"""Why a request was decided as it was, in words for whoever is awake at three in the morning."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..classifiers.account import HEAD, account_values
from ..classifiers.model import LinearModel, in_words
from ..classifiers.request import explain as explain_task
from ..core.behaviour import read_window
from ..model import SECOND_US, TASKS, Policy, TaskReading
from .visible import visible

TOLD_FROM = 0.3

_NEXT = {
    "throttle": "It passes again once the limit has drained; raise the account's quota if it is "
    "too small (hydragate accounts set … quotas=…).",
    "verify": "It passes once the account has the level asked for.",
    "deny": "Change the rule, or the fact it looks at; `hydragate mode shadow-all` stops every "
    "refusal at once.",
}

_NEXT_BY_REASON = {
    "account_banned": "An operator closed the account; hydragate accounts unban opens it again.",
    "unknown_credential": "Import the account (hydragate accounts import), or adopt unknown "
    "credentials in the policy.",
    "missing_credential": "The caller must send its key.",
    "route_not_listed": "List the path under `routes` in the policy, if it is to be served.",
    "store_unavailable": "Mend the store; on_store_error says what limits do meanwhile.",
}


def explain(
    line: dict[str, Any],
    policy: Policy | None,
    account: str | None = None,
    model: LinearModel | None = None,
    accounts: LinearModel | None = None,
) -> dict[str, Any]:
    """The line, and under `text` what it means, fit for a terminal. `policy` is the one in force
    now; where its revision is another, rules are named without their reasons. `account` is whom the
    pseudonym stands for, None when that mapping is gone. `model` is the classifier in force: it
    says why a score is what it is where it made the scores; `accounts` likewise of the account."""
    known = policy if policy is not None and policy.revision == line.get("policy") else None
    parts = [*_headline(line, account), *_why(line, known), *_tasks(line, model)]
    parts += [*_behaviour(line, accounts), *_limits(line), *_aftermath(line)]
    if policy is not None and known is None:
        parts.append(
            f"It was decided by policy revision {line.get('policy')}; in force now is "
            f"{policy.revision}."
        )
    return {**line, "account": account, "text": "\n".join(map(visible, parts))}


def _headline(line: dict[str, Any], account: str | None) -> Iterator[str]:
    facts, subject = line.get("facts", {}), line.get("subject") or {}
    when = datetime.fromtimestamp(line["ts_us"] / 1e6, UTC).isoformat(timespec="milliseconds")
    verdict = str(line["verdict"]).upper()
    yield f"Decision {line['id']} at {when}: {verdict}, because of {line['reason']}."
    who = account or subject.get("account") or "nobody known"
    details = [f"tier {subject['tier']}"] if subject.get("tier") else []
    details += [str(subject["status"])] if subject.get("status") else []
    yield f"Account: {who}" + (f" ({', '.join(details)})" if details else "") + "."
    if subject.get("sub_user"):
        yield (
            f"It was for the aggregator's user {subject['sub_user']}, who is linked "
            f"({subject.get('cluster_state')}, cluster {subject.get('cluster_id')}); the "
            "aggregator and its other users are not concerned."
        )
    asked = f"{facts.get('method')} {facts.get('path')}"
    model = f", model {facts['model']}" if facts.get("model") else ""
    yield f"Asked: {asked}{model}, {facts.get('body_bytes', 0)} bytes, by way of {line['surface']}."


def _why(line: dict[str, Any], policy: Policy | None) -> Iterator[str]:
    reasons = {r.name: (r.why, r.source) for r in policy.rules} if policy else {}
    looked_at = {r.name: r.signals for r in policy.rules} if policy else {}
    signals = line.get("signals") or {}
    reasons |= {x.name: (x.why, x.source) for x in policy.limits} if policy else {}
    if line.get("shadow_all"):
        yield "The kill switch was on: nothing was refused."
    if line.get("degraded"):
        yield "The store did not answer; limits said what their on_store_error tells them to."
    findings = line.get("findings", [])
    if not findings:
        yield "No rule and no limit had anything against it."
    for rule, verdict, mode, wait_us, level in findings:
        why, source = reasons.get(rule, ("", ""))
        text = f"- {rule} ({mode}): {verdict}"
        text += f" until {level} is verified" if level else ""
        text += f" for {wait_us / 1e6:.1f} s" if wait_us > 0 else ""
        text += f". {' '.join(why.split())}" if why else ""
        yield text + (f" [{source}]" if source else "")
        facts = [f"{name} {_in_words(signals.get(name))}" for name in looked_at.get(rule, ())]
        if signals and facts:
            yield f"  It looked at: {'; '.join(facts)}."
    if line["would_be"] != line["verdict"]:
        yield f"Had nothing been in shadow, it would have been {line['would_be'].upper()}."


def _in_words(value: object) -> str:
    if value is None:
        return "not known"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _tasks(line: dict[str, Any], model: LinearModel | None) -> Iterator[str]:
    """What the request is for, as far as its scores say: those from `TOLD_FROM` on, with the
    heaviest contributions."""
    logged = line.get("facts", {}).get("task")
    if not logged:
        return
    reading = msgspec.convert(logged, TaskReading)
    told = [(s, t) for s, t in zip(reading.scores, TASKS, strict=True) if s >= TOLD_FROM]
    for score, task in sorted(told, reverse=True):
        if model is None or model.version != reading.version:
            yield f"Task: {task.replace('_', ' ')} {score:.2f}, by model {reading.version}."
        else:
            found = explain_task(model, reading, task)
            yield f"Task: {in_words(task, score, found)} (model {model.version})."


def _behaviour(line: dict[str, Any], model: LinearModel | None) -> Iterator[str]:
    """What the account's window says, where the policy asked for a score of it."""
    facts = line.get("facts", {})
    if facts.get("collecting") is None or not facts.get("window"):
        return
    seen = read_window(b64decode(facts["window"]), facts["received_us"] // SECOND_US)
    if seen is None or model is None:
        return
    values = account_values(seen)
    score = model.scores(values)[0]
    if score == facts["collecting"]:  # else another model made it
        found = model.contributions(HEAD, values)
        yield f"Account: {in_words(HEAD, score, found)} (model {model.version})."


def _limits(line: dict[str, Any]) -> Iterator[str]:
    results = line.get("results", [])
    for index, (name, effect, limit, period_us, burst, _, ceiling) in enumerate(
        line.get("charges", [])
    ):
        quota = f"{limit} at once" if period_us == 0 else f"{limit} per {period_us / 1e6:g} s"
        text = f"Limit {name}: {quota}, burst {burst}"
        if index < len(results):
            allowed, level = results[index]
            text += "; " + ("passed" if allowed else "full")
            if period_us:
                used = max(0, level - line.get("decided_us", 0)) / ceiling if ceiling else 0
                text += f", {min(used, 9.99):.0%} of the burst in use"
            else:
                text += f", {level} held"
        yield (
            text
            + {"l": " (looked at only)", "k": " (shadow, looked at only)"}.get(
                effect, " (shadow)" if effect == "s" else ""
            )
            + "."
        )


def _aftermath(line: dict[str, Any]) -> Iterator[str]:
    if line["verdict"] == "allow":
        tokens = line.get("usage") or [None, 0, None]
        status = line.get("upstream_status")
        answered = f"The model API answered {status}" if status else "The model API gave no answer"
        yield f"{answered}; {line.get('outcome')}; {tokens[0]} tokens in, {tokens[2]} out."
        return
    yield f"The caller was told {line['status']} and this decision's id, no threshold."
    yield _NEXT_BY_REASON.get(line["reason"]) or _NEXT.get(line["verdict"], "")
