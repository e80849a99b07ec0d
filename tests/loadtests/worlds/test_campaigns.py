"""Campaigns do what their files say; each evasion changes what it should and leaves the rest."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.loadtests.worlds.load import LIBRARY, load_plan
from gateway.loadtests.worlds.world import World
from gateway.workers.traffic import LoggedRequest

from .builders import body_of, campaign, made, ordinary, write_scenario

TEMPLATE = {
    "system": [
        "[Grade|Score|Judge|Mark] the [answer|reply|response] with care.",
        "[Name|Give|State] a [reason|ground|cause] for each [mark|number|score].",
        "[End|Close|Finish] with the [total|sum|whole].",
    ],
    "user": ["[Question|Prompt]: {s2}"],
}
FIXED = campaign(tasks=[{"kind": "grade", "template": TEMPLATE}])
QUIET = ordinary(rate={"per_day": 0.5})


def pool(folder: Path, knobs: dict[str, Any] | None = None, **more: Any) -> list[LoggedRequest]:
    """What a pool with one fixed prompt sends in a day."""
    raw = campaign(**{**FIXED, **more.pop("campaign", {})})
    world = made(folder, classes=[QUIET], campaign=raw, knobs=knobs, accounts=20, **more)
    return [request for request, label in world.exchanges() if label is not None]


def systems(requests: list[LoggedRequest]) -> Counter[str]:
    return Counter(body_of(request).get("system", "") for request in requests)


def accounts(requests: list[LoggedRequest]) -> dict[str, list[LoggedRequest]]:
    found: dict[str, list[LoggedRequest]] = defaultdict(list)
    for request in requests:
        found[request.account_id].append(request)
    return found


def test_a_plain_pool_sends_one_fixed_prompt_in_turns_through_all_its_accounts(
    tmp_path: Path,
) -> None:
    sent = pool(tmp_path, faults=0.0)
    assert len(systems(sent)) == 1
    shares = [len(found) for found in accounts(sent).values()]
    assert len(shares) == 54  # the rest stands by
    assert max(shares) - min(shares) <= 1


def test_the_rate_of_each_account_follows_from_the_file(tmp_path: Path) -> None:
    sent = pool(tmp_path)
    # 4,800 exchanges in two days by the 54 of 60 that are in use.
    assert len(sent) == pytest.approx(2400, rel=0.3)


def _many_prompts(sent: list[LoggedRequest]) -> bool:
    return len(systems(sent)) > 100


def _few_prompts(sent: list[LoggedRequest]) -> bool:
    return 5 <= len(systems(sent)) <= 12


def _one_exit_each(sent: list[LoggedRequest]) -> bool:
    exits = [{r.client_ip for r in found} for found in accounts(sent).values()]
    return all(len(some) == 1 for some in exits) and len(set().union(*exits)) == len(exits)


def _own_stacks(sent: list[LoggedRequest]) -> bool:
    return len({r.ja4 for r in sent}) > 4


def _invisible(sent: list[LoggedRequest]) -> bool:
    return all(re.search("[\u200b\u200c\u2060]", text) for text in systems(sent))


def _mixed_scripts(sent: list[LoggedRequest]) -> bool:
    return all(
        re.search("[\u0400-\u04ff]", text) and re.search("[a-z]", text) for text in systems(sent)
    )


def _base64(sent: list[LoggedRequest]) -> bool:
    return all(text.startswith("Decode this") and "Grade" not in text for text in systems(sent))


def _user_id(request: LoggedRequest) -> str:
    return str(body_of(request).get("metadata", {}).get("user_id", ""))


def _named_users(sent: list[LoggedRequest]) -> Counter[str]:
    return Counter(map(_user_id, sent))


def _other_user_each_time(sent: list[LoggedRequest]) -> bool:
    return len(_named_users(sent)) > 0.9 * len(sent)


def _user_an_account(sent: list[LoggedRequest]) -> bool:
    return len(_named_users(sent)) == len(accounts(sent))


def _ten_tasks(sent: list[LoggedRequest]) -> bool:
    return all("10) Question: " in str(body_of(r)["messages"][0]["content"]) for r in sent)


def _later_model(sent: list[LoggedRequest]) -> bool:
    late = [body_of(r)["model"] for r in sent if r.ts >= sent[0].ts + 0.6 * 86_400]
    early = [body_of(r)["model"] for r in sent if r.ts < sent[0].ts + 0.4 * 86_400]
    return set(late) == {"claude-haiku-4-5"} and set(early) == {"claude-opus-4-5"}


def _probes(sent: list[LoggedRequest]) -> bool:
    probes = [r for r in sent if body_of(r).get("max_tokens") == 16]
    return 0.05 < len(probes) / len(sent) < 0.2


def _bare(sent: list[LoggedRequest]) -> bool:
    names = {name for r in sent for name, _ in r.headers}
    return not any(name.startswith("x-stainless") or name == "user-agent" for name in names)


def _real_conversations(sent: list[LoggedRequest]) -> bool:
    turns = [len(body_of(r).get("messages", [])) for r in sent]
    return len(systems(sent)) > 60 and max(turns) > 4


KNOBS: list[tuple[dict[str, Any], Callable[[list[LoggedRequest]], bool]]] = [
    ({"paraphrase": 1.0}, _many_prompts),
    ({"split": 12}, _few_prompts),
    ({"unique_templates": True}, _many_prompts),
    ({"own_exits": True}, _one_exit_each),
    ({"own_tls": True}, _own_stacks),
    ({"encoding": "zero-width"}, _invisible),
    ({"encoding": "homoglyphs"}, _mixed_scripts),
    ({"encoding": "base64"}, _base64),
    ({"user_ids": "random"}, _other_user_each_time),
    ({"user_ids": "account"}, _user_an_account),
    ({"packing": 10}, _ten_tasks),
    ({"moves_to": "claude-haiku-4-5", "moves_on_day": 0.5}, _later_model),
    ({"probing": 0.1}, _probes),
    ({"strips": True}, _bare),
    ({"organic": 1.0}, _real_conversations),
]


@pytest.mark.parametrize(
    ("knobs", "holds"), KNOBS, ids=["-".join(map(str, (*k, *k.values()))) for k, _ in KNOBS]
)
def test_a_knob_does_what_it_says_and_the_plain_pool_does_not(
    tmp_path: Path, knobs: dict[str, Any], holds: Callable[[list[LoggedRequest]], bool]
) -> None:
    shared: dict[str, Any] = {
        "campaign": {"exits": {"kind": {"hosting": 1.0}, "use": "shared"}},
        "faults": 0.0,
    }
    assert holds(pool(tmp_path, knobs, **shared))
    assert not holds(pool(tmp_path, **shared))


def test_a_human_day_leaves_every_account_its_night(tmp_path: Path) -> None:
    def busiest_hours(sent: list[LoggedRequest]) -> float:
        hours = [Counter(int(r.ts // 3600) for r in s) for s in accounts(sent).values()]
        return sum(max(h.values()) / sum(h.values()) for h in hours) / len(hours)

    assert busiest_hours(pool(tmp_path, {"human_day": True})) > 2 * busiest_hours(pool(tmp_path))


@pytest.mark.parametrize("mixing", [1.0, 5.0, 20.0])
def test_mixing_adds_strangers_and_takes_nothing_from_the_campaign(
    tmp_path: Path, mixing: float
) -> None:
    world = made(tmp_path, classes=[QUIET], campaign=FIXED, knobs={"mixing": mixing}, accounts=20)
    pooled = world.pool_account_ids()
    marks = Counter(label for r, label in world.exchanges() if r.account_id in pooled)
    assert marks[None] / marks["pool"] == pytest.approx(mixing, rel=0.3)
    assert marks["pool"] == pytest.approx(2400, rel=0.35)


def test_aged_accounts_are_old_before_their_first_use(tmp_path: Path) -> None:
    world = made(tmp_path, campaign=FIXED, knobs={"aged_days": 100})
    pooled = world.pool_account_ids()
    ages = [
        (world.plan.start_s - record["created_at"]) / 86_400
        for record in world.accounts()
        if record["account_id"] in pooled
    ]
    assert len(ages) == 60
    assert min(ages) > 55


def test_replaced_accounts_come_from_those_that_stand_by(tmp_path: Path) -> None:
    plain, replaced = pool(tmp_path, days=2.0), pool(tmp_path, {"replaced_daily": 0.5}, days=2.0)
    last = {r.account_id for r in replaced if r.ts > replaced[-1].ts - 7200}
    first = {r.account_id for r in replaced if r.ts < replaced[0].ts + 7200}
    assert len(first - last) > len(first) / 4
    assert len(accounts(plain)) == 54
    assert len(accounts(replaced)) > 80
    # The accounts change, and neither how many there are at a time nor what each sends.
    assert len(first) == pytest.approx(54, abs=6)
    assert len(replaced) == pytest.approx(len(plain), rel=0.2)


def test_bans_are_events_and_end_the_account(tmp_path: Path) -> None:
    raw = campaign(relay={"bans_per_day": 0.5, "standby": 0.4, "replaced_within_h": 1})
    world = made(tmp_path, classes=[QUIET], campaign=raw, accounts=20)
    banned = {e["account_id"]: e["ts"] for e in world.events() if e["event"] == "banned"}
    assert len(banned) > 5
    for request, _ in world.exchanges():
        # A request that failed just before may still be sent again.
        assert request.ts <= banned.get(request.account_id, 2e9) + 20


def test_framing_copies_a_customer_who_stays_innocent(tmp_path: Path) -> None:
    busy = ordinary(rate={"per_day": 60, "tail": "even"}, dialects={"messages": 1.0})
    world = made(tmp_path, classes=[busy], campaign=FIXED, knobs={"frames": "ordinary"})
    (victim,) = [label for label in world.labels() if "framed_by" in label]
    assert victim["campaign"] is None
    theirs, ours = set(), set()
    for request, label in world.exchanges():
        body = body_of(request)
        system = body.get("system") or body.get("instructions")
        first = (body.get("messages") or [{}])[0]
        system = system or (first.get("content") if first.get("role") == "system" else None)
        if request.account_id == victim["account_id"]:
            theirs.add(system)
        elif label is not None:
            ours.add(system)
    assert ours & theirs


def test_all_who_share_a_framed_template_are_its_victims(tmp_path: Path) -> None:
    agency = ordinary(
        apps={"tasks": {"chat": 1}, "template": "group"}, group={"size": [3, 6], "shares": ["app"]}
    )
    world = made(tmp_path, classes=[agency], campaign=FIXED, knobs={"frames": "ordinary"})
    victims = [label for label in world.labels() if "framed_by" in label]
    assert 3 <= len(victims) <= 6


def test_a_relay_fails_over_within_seconds_and_an_sdk_stays(tmp_path: Path) -> None:
    world = made(tmp_path, campaign=FIXED, faults=0.2)
    failed: dict[bytes, tuple[float, str]] = {}
    moved, stayed = Counter[bool](), Counter[bool]()
    waits = []
    for request, label in world.exchanges():
        body = bytes(request.body)
        if body in failed and request.ts > failed[body][0]:
            at_s, account = failed.pop(body)
            waits.append(request.ts - at_s)
            (stayed if label is None else moved)[account == request.account_id] += 1
            if label is None:
                assert dict(request.headers).get("x-stainless-retry-count") in (None, "1", "2")
        assert request.response is not None
        if request.response.status != 200:
            failed[body] = request.ts, request.account_id
    assert moved[False] > 200
    assert moved[True] < moved[False] / 20
    assert stayed[True] > 100
    assert stayed[False] == 0
    assert max(waits) < 12


def test_a_release_draws_the_pivot_and_some_of_the_customers(tmp_path: Path) -> None:
    world = made(
        tmp_path,
        classes=[ordinary(dialects={"messages": 1.0})],
        campaign={**FIXED, "pivot": {"share": 0.5, "within_h": 6}},
        release={"model": "claude-opus-4-6", "day": 0.5, "curious": 0.2},
    )
    used: dict[tuple[bool, bool], Counter[bool]] = defaultdict(Counter)
    for request, label in world.exchanges():
        is_late = request.ts > world.plan.start_s + 0.75 * 86_400
        is_early = request.ts < world.plan.start_s + 0.5 * 86_400
        if is_late or is_early:
            is_new = body_of(request)["model"] == "claude-opus-4-6"
            used[label is not None, is_late][is_new] += 1
    assert used[True, False][True] == used[False, False][True] == 0
    assert used[True, True][True] == pytest.approx(0.5 * used[True, True].total(), rel=0.25)
    assert 0 < used[False, True][True] < used[False, True].total() * 0.4


def test_accounts_of_a_pool_share_what_its_file_says(tmp_path: Path) -> None:
    facts = {"per_payer": 6, "per_domain": 20, "per_signup_address": 4, "per_burst": 30}
    world = made(tmp_path, campaign={**FIXED, "facts": {**facts, "verification": {"payment": 1}}})
    pooled = world.pool_account_ids()
    records = [r for r in world.accounts() if r["account_id"] in pooled]
    assert len({r["payment_fingerprint"] for r in records}) == 10
    assert len({r["email_domain"] for r in records}) <= 3
    signups = Counter(r["signup_ip"] for r in records)
    assert max(signups.values()) <= 4
    born = sorted(r["created_at"] for r in records)
    assert len({b // 3600 for b in born}) < 12


@pytest.mark.parametrize(
    "path", sorted((LIBRARY / "campaigns").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_shipped_campaign_runs_and_says_that_it_is_contested(
    tmp_path: Path, path: Path
) -> None:
    scenario = write_scenario(tmp_path, accounts=50, days=0.5)
    raw = orjson.loads(scenario.read_bytes())
    raw["campaigns"] = [{"file": path.stem, "scale": 0.01}]
    scenario.write_bytes(orjson.dumps(raw))
    (planned,) = load_plan(scenario).campaigns
    assert re.search("contest|[Dd]enied", planned.raw.allegation)
    world = World(load_plan(scenario))
    assert any(label == path.stem for _, label in world.exchanges())
