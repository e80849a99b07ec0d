"""Conversations carry what the model API handed out, and where it comes back tells who holds it."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from gateway.loadtests.worlds.world import World
from gateway.workers.traffic import LoggedRequest

from .builders import campaign, made, ordinary

ISSUED = re.compile(rb'"(?:id|call_id)": ?"((?:call|toolu|msg|resp|rs)_[A-Za-z0-9]+)"')
RETURNED = re.compile(
    rb'"(?:id|call_id|tool_call_id|tool_use_id|previous_response_id)": ?'
    rb'"((?:call|toolu|msg|resp|rs)_[A-Za-z0-9]+)"'
)
SIGNATURE = re.compile(rb'"(?:signature|encrypted_content)": ?"([A-Za-z0-9+/=]{100,})"')
CHATTY = {
    "tasks": {"agent": 2, "chat": 1},
    "turns": 6,
    "count": [1, 1],
    "thinking": 0.5,
    "tools": 0.5,
}


def crossings(world: World, pattern: re.Pattern[bytes] = RETURNED) -> tuple[int, int, int]:
    """Artefacts that came back: on the account that they were issued to, on another, unknown."""
    owner: dict[bytes, str] = {}
    same = other = unknown = 0
    seen: set[tuple[str, bytes]] = set()
    for request, _ in world.exchanges():
        for found in set(pattern.findall(bytes(request.body))):
            if (request.account_id, found) in seen:
                continue
            seen.add((request.account_id, found))
            if found not in owner:
                unknown += 1
            elif owner[found] == request.account_id:
                same += 1
            else:
                other += 1
        for found in _issued(request, pattern):
            owner[found] = request.account_id
    return same, other, unknown


def _issued(request: LoggedRequest, pattern: re.Pattern[bytes]) -> list[bytes]:
    assert request.response is not None
    chosen = SIGNATURE if pattern is SIGNATURE else ISSUED
    return chosen.findall(bytes(request.response.body))


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
def test_customers_return_what_they_were_given_and_nothing_else(
    tmp_path: Path, dialect: str
) -> None:
    people = ordinary(apps=CHATTY, dialects={dialect: 1.0})
    same, other, unknown = crossings(made(tmp_path, classes=[people]))
    assert same > 300
    assert (other, unknown) == (0, 0)


def test_signatures_come_back_to_their_own_account(tmp_path: Path) -> None:
    people = ordinary(
        apps={**CHATTY, "thinking": 1.0}, dialects={"messages": 0.5, "responses": 0.5}
    )
    same, other, unknown = crossings(made(tmp_path, classes=[people]), SIGNATURE)
    assert same > 100
    assert (other, unknown) == (0, 0)


def pool_of(folder: Path, knobs: dict[str, Any] | None = None) -> World:
    talk = campaign(tasks=[{"kind": "agent", "turns": 5, "tools": "repository"}])
    quiet = ordinary(rate={"per_day": 0.01})
    return made(folder, classes=[quiet], campaign=talk, knobs=knobs, accounts=20)


def test_a_round_robin_pool_returns_on_one_account_what_another_was_given(tmp_path: Path) -> None:
    same, other, unknown = crossings(pool_of(tmp_path))
    assert other > 5 * same
    assert unknown == 0


def test_session_affinity_keeps_conversations_on_their_account(tmp_path: Path) -> None:
    same, other, _ = crossings(pool_of(tmp_path, {"affine": True}))
    assert same > 100
    assert other < same / 50  # what an upstream fault moved


def test_laundering_returns_nothing_that_was_issued(tmp_path: Path) -> None:
    same, other, unknown = crossings(pool_of(tmp_path, {"launders": True}))
    assert (same, other) == (0, 0)
    assert unknown > 100


def test_houses_that_move_conversations_between_their_accounts_look_like_a_pool(
    tmp_path: Path,
) -> None:
    house = ordinary(
        apps={**CHATTY, "template": "group"},
        group={"size": [3, 6], "shares": ["org", "payer", "app"]},
        moves=0.4,
    )
    world = made(tmp_path, classes=[house])
    _, other, _ = crossings(world)
    assert other > 50
    groups = defaultdict(set)
    for record in world.accounts():
        groups[record["org_id"]].add(record["payment_fingerprint"])
    assert all(len(payers) == 1 for payers in groups.values())


def test_pasted_answers_come_from_other_accounts(tmp_path: Path) -> None:
    people = ordinary(pastes=0.3, rate={"per_day": 60})
    texts = [bytes(r.body) for r, _ in made(tmp_path, classes=[people]).exchanges()]
    assert sum(b"Somebody posted this: " in text for text in texts) > 50


def test_histories_and_open_conversations_are_bounded(tmp_path: Path) -> None:
    people = ordinary(apps={**CHATTY, "turns": 30})
    sizes = [len(bytes(r.body)) for r, _ in made(tmp_path, classes=[people]).exchanges()]
    assert max(sizes) < 30_000


@pytest.mark.parametrize("knobs", [None, {"affine": True}, {"organic": 1.0}], ids=str)
def test_nobody_continues_before_the_answer_has_come(
    tmp_path: Path, knobs: dict[str, Any] | None
) -> None:
    hasty = ordinary(apps=CHATTY, rate={"per_day": 400})
    talk = campaign(tasks=[{"kind": "agent", "turns": 5}])
    came: dict[bytes, float] = {}
    checked = 0
    for request, _ in made(tmp_path, classes=[hasty], campaign=talk, knobs=knobs).exchanges():
        for found in set(RETURNED.findall(bytes(request.body))):
            assert came[found] <= request.ts + 0.001
            checked += 1
        assert request.response is not None
        for found in ISSUED.findall(bytes(request.response.body)):
            came[found] = request.ts + request.response.latency_ms / 1000
    assert checked > 2_000
