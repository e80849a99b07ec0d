"""A world repeats itself to the byte, in order of time, and says the same of everybody."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from gateway.adapters.body import read_body
from gateway.core.keyed import KeyedHash
from gateway.loadtests.worlds.load import load_plan, scenarios
from gateway.loadtests.worlds.world import World, load_world
from gateway.workers.account_records import RecordReader
from gateway.workers.events import KINDS

from .builders import campaign, made, ordinary, write_scenario

SHAPES = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
    "/v1/embeddings": "embeddings",
}
GROUP = {"size": [2, 5], "shares": ["payer", "mail", "org", "app", "client", "users", "address"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Customers in groups that move conversations, and a pool, with a faulty model API."""
    houses = ordinary(name="houses", share=0.5, group=GROUP, moves=0.3, fails_over=0.5, pastes=0.2)
    return made(
        tmp_path_factory.mktemp("world"),
        classes=[ordinary(share=0.5), houses],
        campaign=campaign(),
        knobs={"mixing": 1.0, "user_ids": "tenants"},
        faults=0.05,
    )


def digest(world: World) -> str:
    found = sha256()
    for request, label in world.exchanges():
        found.update(msgspec.json.encode(request) + (label or "").encode())
    for records in (world.accounts(), world.events(), world.labels()):
        for record in records:
            found.update(msgspec.json.encode(record))
    return found.hexdigest()


def test_the_same_scenario_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, campaign=campaign(), days=0.3)
    assert digest(load_world(path)) == digest(load_world(path))
    assert digest(load_world(path, seed=2)) != digest(load_world(path))


def test_a_world_can_be_read_twice_and_in_any_order(world: World) -> None:
    first = digest(world)
    list(world.labels())
    assert digest(world) == first


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_nothing_depends_on_the_hash_seed_of_python(tmp_path: Path, hash_seed: str) -> None:
    path = write_scenario(tmp_path, campaign=campaign(), days=0.1)
    command = [sys.executable, "-m", "gateway.cli", "generate", str(path), "--stdout"]
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    out = subprocess.run(command, env=env, capture_output=True, check=True).stdout
    lines = [msgspec.json.encode(request) + b"\n" for request, _ in load_world(path).exchanges()]
    assert sha256(out).hexdigest() == sha256(b"".join(lines)).hexdigest()


def test_exchanges_come_by_time_and_within_the_scenario(world: World) -> None:
    times = [request.ts for request, _ in world.exchanges()]
    assert len(times) > 2_000
    assert times == sorted(times)
    assert world.plan.start_s <= times[0]
    assert times[-1] <= world.plan.start_s + 86_400


def test_every_body_is_one_that_the_gateway_reads(world: World) -> None:
    for request, _ in world.exchanges():
        facts = read_body(bytes(request.body), SHAPES[request.path])
        assert facts.model
        response = request.response
        assert response is not None
        answer = msgspec.json.decode(bytes(response.body))
        assert answer is None or response.status != 200 or answer["model"] == facts.model
        assert dict(request.headers)["content-length"] == str(len(bytes(request.body)))


def test_all_accounts_that_call_are_known_with_their_keys(world: World) -> None:
    keys: dict[str, set[str]] = {}
    for record in world.accounts():
        keys[record["account_id"]] = set(record["key_ids"])
    for event in world.events():
        if event["event"] == "created":
            keys[event["account_id"]] = set(event["key_ids"])
    labels = {label["account_id"] for label in world.labels()}
    for request, _ in world.exchanges():
        assert request.account_id in labels
        assert request.key_id in keys[request.account_id]


def test_records_are_accounts_v1_and_events_are_known(world: World) -> None:
    reader = RecordReader(KeyedHash(b"x" * 32))
    for record in world.accounts():
        assert reader.read(record).account_id == record["account_id"]
    times = []
    for event in world.events():
        assert event["event"] in KINDS
        reader.read({k: v for k, v in event.items() if k not in ("ts", "event", "level")})
        times.append(event["ts"])
    assert times == sorted(times)


def test_nobody_calls_before_signing_up(tmp_path: Path) -> None:
    joining = ordinary(facts={"joins": 1.0})
    world = made(tmp_path, classes=[joining], campaign=campaign(at_start=0.0))
    born = {e["account_id"]: e["ts"] for e in world.events() if e["event"] == "created"}
    assert len(born) > 100
    for request, _ in world.exchanges():
        assert request.ts >= born.get(request.account_id, 0.0) - 0.001


def test_labels_name_class_and_campaign_of_everybody(world: World) -> None:
    labels = {label["account_id"]: label for label in world.labels()}
    assert {label["class"] for label in labels.values()} == {"ordinary", "houses", "campaign"}
    for request, label in world.exchanges():
        if label is not None:
            assert labels[request.account_id]["campaign"] == label


@pytest.mark.parametrize("path", scenarios(), ids=lambda path: path.stem)
def test_every_shipped_scenario_can_be_loaded(path: Path) -> None:
    assert load_plan(path).warnings == ()


def test_scale_changes_accounts_and_not_their_rates(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, campaign=campaign(), accounts=200)
    counts = {}
    for scale in (0.5, 2.0):
        world = load_world(path, scale=scale)
        sent = sum(label is not None for _, label in world.exchanges())
        counts[scale] = sent / (60 * scale), world.customers.count
    assert counts[0.5][0] == pytest.approx(counts[2.0][0], rel=0.3)
    assert counts[0.5][1] * 4 == counts[2.0][1]
