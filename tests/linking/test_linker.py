"""Who is linked, who is not, and what stays true whatever the order of things."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest

from gateway.linking.concentration import MOST_SCORED
from gateway.linking.evidence import Key
from gateway.linking.graph import MAX_VALUES_PER_BLOCK
from gateway.linking.linker import Evidence, Linker, LinkerSettings
from gateway.linking.publishing import USED_BEFORE_US
from gateway.model import SECOND_US

from .worlds import HOUR_US, NOW_US, all_of, bystanders, honest_groups, pool, shows


def linked(evidence: Iterable[Evidence], linker: Linker | None = None) -> Linker:
    linker = linker or Linker()
    for one in evidence:
        linker.observe(one)
    linker.tick(NOW_US)
    linker.tick(NOW_US + 1)  # who was found in the first is welcomed in the second
    return linker


def suspects(linker: Linker) -> set[str]:
    return {
        name
        for view in linker.clusters()
        if view.state in ("suspected", "confirmed")
        for name in view.accounts
    }


POOL = {f"pool_{n}" for n in range(240)}


def test_a_pool_among_bystanders_is_one_suspected_cluster() -> None:
    linker = linked(all_of(bystanders(500), pool(240)))
    (view,) = linker.clusters()
    assert view.state == "suspected"
    assert set(view.accounts) == POOL
    assert view.families.keys() >= {"system_prompt", "payment", "signup_network"}
    assert "240 accounts show the same system prompt." in view.why


INNOCENTS = [
    pytest.param(honest_groups(1, 60), id="one-agency-with-sixty-keys"),
    pytest.param(honest_groups(25, 20), id="many-agencies-on-one-popular-prompt"),
    pytest.param(honest_groups(40, 30, cause="signup_network"), id="classrooms-one-assignment"),
    pytest.param(honest_groups(12, 40, cause="mail_domain"), id="companies-on-one-harness"),
    pytest.param(
        [shows(f"u_{n}", ("system_prompt", "harness")) for n in range(3_000)],
        id="three-thousand-users-of-a-harness",
    ),
    pytest.param(
        [shows(f"u_{n}", ("network", "carrier"), ("client_stack", "sdk")) for n in range(3_000)],
        id="carrier-nat",
    ),
]


@pytest.mark.parametrize("innocents", INNOCENTS)
def test_honest_groups_that_look_alike_are_not_even_watched(innocents: Iterable[Evidence]) -> None:
    assert linked(all_of(bystanders(300), innocents)).clusters() == []


def test_content_alone_never_links_anybody() -> None:
    copies = [
        shows(f"c_{n}", ("system_prompt", "t"), ("tools", "t"), ("parameters", "t"))
        for n in range(5_000)
    ]
    assert linked(copies).clusters() == []


def test_a_framed_customer_is_not_linked_by_the_template_that_was_copied() -> None:
    victims = [
        shows(f"victim_{n}", ("system_prompt", "template"), ("payment", f"victim card {n}"))
        for n in range(400)
    ]
    agency = honest_groups(1, 30)
    found = suspects(linked(all_of(bystanders(300), victims, agency, pool(240))))
    assert found == POOL


def test_an_exempt_account_is_in_no_cluster() -> None:
    exempt = [Evidence(one.account_id, one.at_us, one.keys, True) for one in pool(240)]
    assert linked(all_of(bystanders(300), exempt)).clusters() == []


def test_an_account_whose_exemption_ends_is_linked_like_any_other() -> None:
    exempt = [replace(one, is_exempt=one.account_id == "pool_7") for one in pool(240)]
    linker = linked(all_of(bystanders(500), exempt))
    assert suspects(linker) == POOL - {"pool_7"}
    linked([one for one in pool(240) if one.account_id == "pool_7"], linker)
    linker.observe(shows("pool_7", ("client_stack", "seen again")))
    linker.tick(NOW_US + 2)
    assert suspects(linker) == POOL


def test_camouflage_changes_nothing() -> None:
    """Edges to innocents never lower suspicion."""
    plain = linked(all_of(bystanders(500), pool(240)))
    mixed = all_of(
        bystanders(500),
        pool(240),
        [
            shows(f"pool_{n}", ("system_prompt", f"own prompt {(7 * n + k) % 500}"))
            for n in range(240)
            for k in range(6)
        ],
    )
    disguised = linked(mixed)
    assert suspects(disguised) == suspects(plain) == POOL
    assert disguised.clusters()[0].score >= plain.clusters()[0].score


def test_the_order_in_which_evidence_arrives_changes_nothing_of_who_is_suspected() -> None:
    evidence = all_of(bystanders(300), honest_groups(10, 20), pool(240))
    for seed in range(5):
        random.Random(seed).shuffle(evidence)
        assert suspects(linked(evidence)) == POOL


def test_whoever_replaces_a_lost_account_is_born_into_the_cluster() -> None:
    linker = linked(all_of(bystanders(500), pool(240)))
    (view,) = linker.clusters()
    linker.observe(shows("late", ("system_prompt", "template"), ("payment", "pool card 3")))
    linker.observe(shows("passer-by", ("system_prompt", "template"), ("payment", "own")))
    said = {p.account_id: p for p in linker.tick(NOW_US + HOUR_US)}
    assert said["late"].cluster_id == view.cluster_id
    assert said["late"].state == "suspected"
    assert "passer-by" not in said


def test_an_id_survives_growth_and_only_what_changed_is_published() -> None:
    linker = linked(all_of(bystanders(500), pool(120)))
    (first,) = linker.clusters()
    for one in pool(240):
        linker.observe(one)
    published = linker.tick(NOW_US + HOUR_US)
    (grown,) = linker.clusters()
    assert grown.cluster_id == first.cluster_id
    assert set(grown.accounts) == POOL
    assert published
    assert linker.tick(NOW_US + HOUR_US + 1) == []


def test_two_pools_that_share_nothing_are_two_clusters() -> None:
    other = pool(240, name="other", prompt="another template")
    linker = linked(all_of(bystanders(500), pool(240), other))
    assert sorted({name.partition("_")[0] for name in view.accounts} for view in linker.clusters())
    assert [len(view.accounts) for view in linker.clusters()] == [240, 240]


def test_removing_a_family_degrades_and_never_crashes() -> None:
    whole = list(pool(240))
    for family in ("payment", "signup_network", "mail_domain", "system_prompt"):
        cut = [
            Evidence(one.account_id, one.at_us, tuple(k for k in one.keys if k.family != family))
            for one in whole
        ]
        assert suspects(linked(all_of(bystanders(300), cut))) <= POOL


def test_a_family_of_a_newer_version_is_passed_over() -> None:
    linker = linked([shows("a", ("from the future", "x"))])
    assert linker.clusters() == []


# ── people ───────────────────────────────────────────────────────────────────────────────────


def test_a_dismissal_holds_however_much_evidence_follows() -> None:
    linker = linked(all_of(bystanders(500), pool(120)))
    (view,) = linker.clusters()
    linker.dismiss(view.cluster_id, by="ann", reason="a partner's programme", now_us=NOW_US)
    for one in pool(240):
        linker.observe(one)
    said = linker.tick(NOW_US + HOUR_US)
    assert {p.state for p in said} == {"dismissed"}
    assert {p.suspicion for p in said} == {0.0}


def test_a_confirmation_is_certain_and_travels_by_export() -> None:
    linker = linked(all_of(bystanders(500), pool(240)))
    (view,) = linker.clusters()
    linker.confirm(view.cluster_id, by="ann", reason="seen the bills", now_us=NOW_US)
    assert {p.state for p in linker.tick(NOW_US + 2)} == {"confirmed"}
    elsewhere = linked(all_of(bystanders(500), pool(240)))
    assert elsewhere.import_decisions(linker.decisions()) == []
    (there,) = elsewhere.clusters()
    assert (there.state, set(there.accounts)) == ("confirmed", POOL)


def test_a_decision_that_cannot_be_repeated_is_told_and_costs_no_other() -> None:
    problems = Linker().import_decisions(
        [
            {"decision": "exile", "at_us": 1, "by": "x", "reason": "y", "accounts": []},
            {"decision": "pin", "cluster_id": None, "accounts": ["a"], "at_us": 1},
            {"decision": "pin", "accounts": "a", "at_us": 1, "by": "x", "reason": "y"},
            {"reason": "y"},
            {"decision": "confirmed", "accounts": [{}], "at_us": 1, "by": "x", "reason": "y"},
        ]
    )
    assert problems == [
        "decision 0: no such decision: exile",
        "decision 1: lacks by, reason",
        "decision 2: accounts: must be a list",
        "decision 3: lacks decision, accounts, by, at_us",
        "decision 4: accounts: must be a list of texts",
    ]


def test_a_pin_keeps_an_account_out_whatever_it_shows() -> None:
    linker = linked(all_of(bystanders(500), pool(240)))
    linker.pin("pool_7", None, by="ann", reason="appeal 12", now_us=NOW_US)
    said = {one.account_id: one.cluster_id for one in linker.tick(NOW_US + 2)}
    assert said.pop("pool_7") is None
    assert None not in said.values()
    for one in pool(300):
        linker.observe(one)
    linker.tick(NOW_US + HOUR_US)
    assert "pool_7" not in suspects(linker)


def test_a_split_makes_a_watched_cluster_that_evidence_does_not_take_back() -> None:
    linker = linked(all_of(bystanders(500), pool(240)))
    (view,) = linker.clusters()
    part = [f"pool_{n}" for n in range(20)]
    apart = linker.split(view.cluster_id, part, by="ann", reason="an agency", now_us=NOW_US)
    for one in pool(300):
        linker.observe(one)
    linker.tick(NOW_US + HOUR_US)
    found = {v.cluster_id: v for v in linker.clusters()}
    assert set(found[apart].accounts) == set(part)
    assert found[apart].state == "watched"
    with pytest.raises(ValueError, match="none of these accounts"):
        linker.split(apart, ["by_1"], by="ann", reason="no", now_us=NOW_US)


def test_a_frozen_linker_concludes_nothing_and_forgets_nothing() -> None:
    linker = Linker()
    linker.is_frozen = True
    assert linked(all_of(bystanders(500), pool(240)), linker).clusters() == []
    linker.is_frozen = False
    linker.tick(NOW_US + HOUR_US)
    assert suspects(linker) == POOL


def test_undo_takes_back_what_evidence_joined_since_then() -> None:
    linker = linked(all_of(bystanders(500), pool(240)))
    linker.observe(shows("late", ("system_prompt", "template"), ("payment", "pool card 3")))
    linker.tick(NOW_US + HOUR_US)
    assert linker.undo_since(NOW_US + HOUR_US, by="ann", now_us=NOW_US + HOUR_US) == 1
    said = {one.account_id: one.cluster_id for one in linker.tick(NOW_US + 2 * HOUR_US)}
    assert said["late"] is None


def test_undo_leaves_whom_a_person_has_placed() -> None:
    linker = linked(all_of(bystanders(500), pool(240)))
    (cluster,) = linker.clusters()
    later = NOW_US + HOUR_US
    linker.observe(shows("placed", ("payment", "own card")))
    linker.pin("placed", cluster.cluster_id, by="ann", reason="the same hand", now_us=later)
    assert linker.undo_since(later, by="ben", now_us=later) == 0
    assert "placed" in linker.clusters()[0].accounts


# ── snapshots ────────────────────────────────────────────────────────────────────────────────


def test_a_restored_linker_goes_on_as_if_nothing_had_happened() -> None:
    evidence = all_of(bystanders(300), pool(240))
    straight = linked(evidence)
    resumed = linked(evidence[:400])
    resumed = Linker.restore(resumed.snapshot(), LinkerSettings())
    linked(evidence[400:], resumed)
    for one in evidence[:400]:
        straight.observe(one)
    assert suspects(resumed) == suspects(straight) == POOL
    assert resumed.tick(NOW_US + HOUR_US) == []
    again = Linker.restore(resumed.snapshot())
    assert again.snapshot() == resumed.snapshot()


@pytest.mark.parametrize("state", [b"", b"x", b"\x81\xa7version\x02"])
def test_what_is_no_snapshot_is_refused(state: bytes) -> None:
    with pytest.raises(ValueError, match="snapshot"):
        Linker.restore(state)


def test_an_old_customer_is_told_since_when_there_is_evidence() -> None:
    linker = Linker()
    early = NOW_US - USED_BEFORE_US
    for one in pool(240):
        is_old = one.account_id in ("pool_3", "pool_200")
        linker.observe(replace(one, at_us=early if is_old else NOW_US, created_us=1))
    said = {one.account_id: one.since_us for one in linker.tick(NOW_US)}
    assert len(said) == 240
    assert said.pop("pool_3") == said.pop("pool_200") == NOW_US
    assert set(said.values()) == {None}, "an old account that lay ready is no old customer"


def test_what_can_be_copied_at_most_doubles_a_cluster_in_an_hour() -> None:
    def look_alikes(since: int, count: int) -> list[Evidence]:
        return [
            shows(f"copy_{n}", ("system_prompt", "template"), ("client_stack", "relay"))
            for n in range(since, since + count)
        ]

    stacked = [replace(one, keys=(*one.keys, Key("client_stack", "relay"))) for one in pool(120)]
    linker = linked(all_of(bystanders(300), stacked))
    (view,) = linker.clusters()
    assert len(view.accounts) == 120
    for one in look_alikes(0, 300):
        linker.observe(one)
    linker.tick(NOW_US + 2)
    linker.tick(NOW_US + 3)
    assert len(linker.clusters()[0].accounts) == 240
    linker.tick(NOW_US + HOUR_US + 2)
    assert len(linker.clusters()[0].accounts) == 420


def test_questions_never_drive_out_the_one_set_of_tools() -> None:
    linker = Linker()
    linker.observe(shows("a", ("tools", "own"), *(("question_head", f"{n}") for n in range(200))))
    graph = linker._state.graph
    assert graph.value(Key("tools", "own")) in graph.accounts[0].values
    assert len(graph.accounts[0].values) <= MAX_VALUES_PER_BLOCK


def test_an_import_says_which_decisions_it_passes_over() -> None:
    linker = linked(all_of(bystanders(300), pool(240)))
    (view,) = linker.clusters()
    linker.pin("by_1", view.cluster_id, by="ann", reason="same hand", now_us=NOW_US)
    linker.split(view.cluster_id, ["pool_1"], by="ann", reason="a reseller", now_us=NOW_US)
    linker.pin("by_2", None, by="ann", reason="a customer", now_us=NOW_US)
    problems = Linker().import_decisions(linker.decisions())
    assert [line.partition(": ")[2].partition(":")[0] for line in problems] == [
        "passed over",
        "passed over",
    ]
    assert "pin again" in problems[0]
    assert "split again" in problems[1]


def test_the_last_lots_of_a_pool_that_has_stopped_growing_join_within_a_minute() -> None:
    linker = Linker()
    for one in all_of(bystanders(400), pool(480)):
        linker.observe(one)
    linker.tick(NOW_US)
    for n in range(24):  # too few for the template to be looked at for its growth
        lots = ("payment", f"late card {n // 12}"), ("signup_network", f"late home {(n + 2) // 8}")
        linker.observe(shows(f"late_{n}", ("system_prompt", "template"), *lots))
    linker.tick(NOW_US + 2 * SECOND_US)
    assert len(linker.clusters()[0].accounts) == 480
    linker = Linker.restore(linker.snapshot())
    linker.tick(NOW_US + 33 * SECOND_US)
    assert len(linker.clusters()[0].accounts) == 504


def test_a_pool_that_came_at_once_is_found_whole() -> None:
    """More than are looked at together, and lots of a few that do not touch."""
    linker = Linker()
    for one in pool(3 * MOST_SCORED):
        linker.observe(one)
    linker.tick(NOW_US)
    (view,) = linker.clusters()
    assert view.state == "suspected"
    assert len(view.accounts) == 3 * MOST_SCORED
