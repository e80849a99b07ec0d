"""Jittered quotas of clusters: one for all workers, another a day later, exact from the log."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from gateway.model import SECOND_US, Outcome, Subject, Verdict
from gateway.stores.memory import MemoryStore
from gateway.workers.logged_decisions import LoggedDecision, LogReplay, opinions
from tests.core.builders import FACTS, NOW_US
from tests.core.logged import logging_engine
from tests.policy.builders import HEAD, WHY, compiled

DAY_US = 86_400 * SECOND_US
POLICY = compiled(
    HEAD
    + f"""
limits:
  - name: cluster-requests
    {WHY}
    by: cluster
    states: {{suspected: {{quota: 3000/day, burst: 300}}}}
    floor: 30d
"""
)
SECRET = b"sixteen bytes and more"
MEMBER = Subject("acc_1", cluster_id="c_1", cluster_state="suspected", cluster_since_us=NOW_US)


async def until_refused(secret: bytes, *, received_us: int = NOW_US) -> list[bytes]:
    """The lines of one worker on a store of its own, up to the first refusal."""
    store = MemoryStore(lambda: received_us)
    engine, lines = logging_engine(POLICY, store, secret, event_time=True)
    await store.put(MEMBER, {FACTS.credential or "": "k"})
    for number in range(1_000):
        facts = replace(FACTS, decision_id=f"{number:026d}", received_us=received_us)
        decision = await engine.decide(facts)
        await engine.finish(facts, decision, outcome=Outcome.COMPLETE, finished_us=received_us)
        if decision.verdict is not Verdict.ALLOW:
            return lines
    raise AssertionError("never refused")


async def test_a_budget_lies_off_what_the_policy_says_and_is_one_for_all_workers() -> None:
    passed = len(await until_refused(SECRET)) - 1
    assert 240 <= passed <= 360
    assert passed != 300
    assert len(await until_refused(SECRET)) - 1 == passed


@pytest.mark.parametrize(
    ("secret", "received_us"),
    [(b"another secret than that", NOW_US), (SECRET, NOW_US + DAY_US)],
    ids=["another secret", "the next day"],
)
async def test_it_is_another_one_elsewhere_and_tomorrow(secret: bytes, received_us: int) -> None:
    here = len(await until_refused(SECRET))
    assert len(await until_refused(secret, received_us=received_us)) != here


async def test_a_jittered_decision_follows_exactly_from_its_line_without_the_secret() -> None:
    lines = await until_refused(SECRET)
    assert SECRET not in b"".join(lines)
    replay = LogReplay(POLICY)
    for text in (lines[0], lines[-1]):
        line = msgspec.json.decode(text, type=LoggedDecision)
        again = await replay.decide(line)
        assert again.how == "exact"
        assert again.decision.verdict.text == line.verdict
        assert opinions(again.decision) == line.findings
        (planned,) = again.decision.plan
        passed = len(lines) - 1
        assert planned.quota.burst - passed in (0, 1)  # increments are rounded up
