"""Laws of a world that is refused at random, whatever its campaign's knobs are."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.loadtests.simulation import Society
from gateway.loadtests.worlds.customers import MAX_ATTEMPTS as MOST_RETRIES
from gateway.loadtests.worlds.days import DAY_S
from gateway.loadtests.worlds.desk import Sent
from gateway.loadtests.worlds.facts import account_id
from gateway.loadtests.worlds.load import load_script
from gateway.loadtests.worlds.operators import MAX_ATTEMPTS
from gateway.loadtests.worlds.refusals import Refusal
from gateway.loadtests.worlds.world import World
from gateway.model import Level, Verdict

from .builders import campaign, made, ordinary

REFUSALS = (
    Refusal(Verdict.THROTTLE, 30.0),
    Refusal(Verdict.THROTTLE),
    Refusal(Verdict.VERIFY, level=Level.PHONE),
    Refusal(Verdict.DENY),
)
RELAY = {"standby": 0.1, "bans_per_day": 0.1, "replaced_within_h": 1.0}
KNOBS: dict[str, dict[str, Any]] = {
    "plain": {},
    "own hours, conversations that stay": {"human_day": True, "affine": True},
    "strangers": {"mixing": 2.0, "organic": 0.3, "user_ids": "tenants"},
    "several pools, always new": {"split": 3, "replaced_daily": 0.5},
    "aged": {"aged_days": 60, "launders": True, "strips": True, "probing": 0.2},
}


def world_of(folder: Path, knobs: dict[str, Any], dispatch: str = "round-robin") -> World:
    houses = ordinary(name="houses", share=0.5, group={"size": [2, 4]}, moves=0.3, fails_over=0.5)
    return made(
        folder,
        classes=[ordinary(share=0.5), houses],
        campaign=campaign(relay={**RELAY, "dispatch": dispatch}),
        knobs=knobs,
        accounts=40,
        days=1.2,
        faults=0.03,
    )


def refused(world: World, seed: int = 1) -> tuple[list[tuple[Sent, Refusal | None]], Society]:
    """Everything that was sent, a seventh of it refused: each with what was answered."""
    rng, society = Random(seed), Society(world, load_script())
    run = world.run(world.desk(), people=society.people, operators=society.of)
    found: list[tuple[Sent, Refusal | None]] = []
    sent = next(run)
    while True:
        refusal = rng.choice(REFUSALS) if rng.random() < 1 / 7 else None
        group = sent.sender.class_of(sent)
        society.ledger.count(sent, refusal, group, is_suspected=False)
        found.append((sent, refusal))
        try:
            sent = run.send(refusal)
        except StopIteration:
            return found, society


@pytest.mark.parametrize("dispatch", ["round-robin", "random"])
@pytest.mark.parametrize("knobs", KNOBS.values(), ids=KNOBS)
def test_whoever_is_lost_or_does_not_exist_yet_never_sends(
    tmp_path: Path, knobs: dict[str, Any], dispatch: str
) -> None:
    world = world_of(tmp_path, knobs, dispatch)
    found, society = refused(world)
    ledger = society.ledger
    created = {
        event["account_id"]: event["ts"]
        for event in (*world.events(), *ledger.new_events)
        if event["event"] == "created"
    }
    there = {record["account_id"] for record in world.accounts()}
    lost: set[str] = set()
    resting: dict[str, float] = {}
    last_s = 0.0
    for sent, refusal in found:
        name, is_pooled = sent.request.account_id, sent.sender.class_of(sent) is None
        assert last_s <= sent.at_s
        last_s = sent.at_s
        assert name in there or created[name] <= sent.request.ts
        assert sent.attempt <= (MAX_ATTEMPTS if is_pooled else MOST_RETRIES)
        if not is_pooled:
            continue
        assert name not in lost
        assert resting.get(name, 0.0) <= sent.at_s
        if refusal is not None and refusal.verdict is Verdict.DENY:
            lost.add(name)
        elif refusal is not None and refusal.verdict is Verdict.THROTTLE:
            resting[name] = sent.at_s + (refusal.retry_after_s or 60.0)
    (tally,) = ledger.campaigns.values()
    assert lost <= tally.lost
    assert tally.bought > 0 < tally.passed["phone"]
    assert tally.got <= tally.wanted
    assert tally.got <= tally.served <= tally.sent


def test_accounts_that_are_made_on_the_way_are_labelled_and_have_facts_of_their_pool(
    tmp_path: Path,
) -> None:
    world = world_of(tmp_path, {"split": 2})
    _, society = refused(world)
    labels = {label["account_id"]: label for label in society.bought_labels()}
    known = {label["account_id"] for label in world.labels()}
    made_up = [event for event in society.ledger.new_events if event["event"] == "created"]
    assert {event["account_id"] for event in made_up} == labels.keys()
    assert labels.keys().isdisjoint(known)
    assert {label["campaign"] for label in labels.values()} == {"pool"}
    assert {label["pool"] for label in labels.values()} == {"0", "1"}
    for pool in world.pools:
        days = (pool.ends_s - pool.begins_s) / DAY_S
        bought = society.of(pool).bought
        assert 0 < len(bought) <= pool.campaign.reacts.buys_daily * pool.base * days + 1
        names = {account_id(world.plan.seed, account) for account, _ in bought}
        assert {labels[name]["pool"] for name in names} == {str(pool.number)}


def test_a_refused_world_repeats_itself(tmp_path: Path) -> None:
    world = world_of(tmp_path, {"mixing": 1.0})
    (one, first), (two, second) = refused(world), refused(world)
    assert [sent.request for sent, _ in one] == [sent.request for sent, _ in two]
    assert first.ledger.new_events == second.ledger.new_events
    assert [s.request for s, _ in refused(world, 2)[0]] != [s.request for s, _ in one]
