"""The policy as the gateway would load it, and whether it does anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from ..model import Mode
from ..policy.load import check as check_policy
from ..policy.load import load_policy
from ..settings import Settings
from .finding import Finding, bad, ok, warning

TOPIC = "policy"


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    problems = check_policy(settings.policy, today=datetime.now(UTC).date())
    for problem in problems:
        if problem.is_warning:
            yield warning(TOPIC, str(problem), "see docs/reference/policy.md")
        else:
            yield bad(TOPIC, str(problem), f"repair it; hydragate policy check {settings.policy}")
    if any(not problem.is_warning for problem in problems):
        return
    policy = load_policy(settings.policy)
    modes = [rule.mode for rule in policy.rules] + [limit.mode for limit in policy.limits]
    enforced = modes.count(Mode.ENFORCE)
    said = f"{policy.name}@{policy.revision}: {enforced} of {len(modes)} rules and limits act"
    if enforced:
        yield ok(TOPIC, said)
    else:
        yield warning(
            TOPIC,
            said,
            "everything is in shadow, as on a first day; when the log looks right, enforce",
        )
