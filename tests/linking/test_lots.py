"""Cards, addresses and hours that were bought in lots, and the honest who share one thing."""

from __future__ import annotations

import pytest

from gateway.linking.linker import Evidence, Linker
from gateway.linking.lots import DEEP, surprise

from .worlds import NOW_US, all_of, bystanders, pool, shows

CARD, ADDRESS, PROMPT, SKETCH = "payment", "signup_network", "system_prompt", "system_sketch"


def aged_pool(size: int) -> list[Evidence]:
    """Cards in threes and addresses in twos that never meet; every third account shares nothing."""
    found = []
    for n in range(size):
        facts = (
            [(CARD, f"card {n // 9}")]
            if n % 3 == 0
            else [(ADDRESS, f"address {n // 6}")]
            if n % 3 == 1
            else []
        )
        found.append(shows(f"aged_{n}", (PROMPT, "template"), ("client_stack", "relay"), *facts))
    return found


def pairs(count: int, *own: tuple[str, str]) -> list[Evidence]:
    """Two accounts on one card each, with the popular prompt and what `own` adds to each pair."""
    return [
        shows(
            f"pair_{n}_{half}",
            (PROMPT, "template"),
            (CARD, f"card of pair {n}"),
            *((family, f"{value} {n}") for family, value in own),
        )
        for n in range(count)
        for half in range(2)
    ]


def on_cards(count: int, size: int, *own: tuple[str, str]) -> list[Evidence]:
    """`count` cards with `size` accounts each; those of one card share what `own` adds, too."""
    return [
        shows(
            f"on_{n}_{place}",
            (PROMPT, "template"),
            ("client_stack", "relay"),
            (CARD, f"card {n}"),
            *((family, f"{value} {n}") for family, value in own),
        )
        for n in range(count)
        for place in range(size)
    ]


def users(count: int) -> list[Evidence]:
    """Of the same template and client, each with a card of its own."""
    return [
        shows(
            f"user_{n}",
            (PROMPT, "template"),
            ("client_stack", "relay"),
            (CARD, f"card of user {n}"),
        )
        for n in range(count)
    ]


def linked(evidence: list[Evidence]) -> Linker:
    linker = Linker()
    for one in evidence:
        linker.observe(one)
    for after_us in range(3):
        linker.tick(NOW_US + after_us)
    return linker


def test_lots_that_never_meet_are_one_hand() -> None:
    (view,) = linked(all_of(bystanders(500), aged_pool(240))).clusters()
    assert view.state == "suspected"
    assert {CARD, ADDRESS, PROMPT} <= view.families.keys()
    assert any("bears that out" in line for line in view.why)


def test_untied_accounts_with_the_template_and_the_pools_own_client_belong_to_it() -> None:
    (view,) = linked(all_of(bystanders(500), aged_pool(240))).clusters()
    assert len(view.accounts) == 240


def test_a_stranger_with_the_template_alone_does_not() -> None:
    framed = [shows(f"framed_{n}", (PROMPT, "template"), ("client_stack", "sdk")) for n in range(9)]
    found = linked(all_of(bystanders(500), framed, aged_pool(240)))
    assert {name for view in found.clusters() for name in view.accounts}.isdisjoint(
        {f"framed_{n}" for n in range(9)}
    )


@pytest.mark.parametrize("size", [DEEP, 8, 12])
def test_card_upon_card_that_strangers_share_are_one_hand(size: int) -> None:
    (view,) = linked(all_of(bystanders(500), on_cards(8, size))).clusters()
    assert view.state == "suspected"
    assert len(view.accounts) == 8 * size
    assert {CARD, PROMPT} <= view.families.keys()


@pytest.mark.parametrize(
    "honest",
    [
        pytest.param(on_cards(40, DEEP - 1), id="four-who-live-apart"),
        pytest.param(on_cards(2, 9), id="two-agencies"),
        pytest.param(on_cards(8, 8, ("mail_domain", "firm")), id="firms"),
        pytest.param(on_cards(8, 8, ("network", "office")), id="offices"),
        pytest.param(on_cards(8, 8, ("tools", "own tools")), id="teams"),
        pytest.param([*on_cards(8, 8), *users(70)], id="agencies-among-users-of-one-harness"),
    ],
)
def test_cards_that_are_shared_honestly_are_not_even_watched(honest: list[Evidence]) -> None:
    assert linked(all_of(bystanders(500), honest)).clusters() == []


def test_lots_that_tell_nothing_make_nobody_a_member_of_what_is_found_otherwise() -> None:
    lone = [
        shows(f"lone_{n}", (PROMPT, "template"), (ADDRESS, f"home {n}"), (CARD, f"own {n}"))
        for n in range(600)
    ]
    neighbours = [
        shows(f"near_{n}", (PROMPT, "template"), (ADDRESS, f"carrier {n // 2}")) for n in range(4)
    ]
    honest = all_of(lone, neighbours, pairs(40))
    (view,) = linked(all_of(bystanders(500), honest, pool(120))).clusters()
    assert {account_id.split("_")[0] for account_id in view.accounts} == {"pool"}


def by_phrase(evidence: list[Evidence], prompt: str) -> list[Evidence]:
    """The same accounts, by prompts that have one phrase in common; `{}` in a prompt's name stands
    for the account's."""
    found = []
    for one in evidence:
        rest = [(key.family, key.value) for key in one.keys if key.family != PROMPT]
        own = (PROMPT, prompt.format(one.account_id))
        found.append(shows(one.account_id, (SKETCH, "phrase"), own, *rest))
    return found


@pytest.mark.parametrize("prompt", ["the pool's", "of {} alone"])
def test_who_shares_one_phrase_and_another_prompt_is_no_member(prompt: str) -> None:
    pool, kit = by_phrase(aged_pool(240), prompt), by_phrase(pairs(20), "of a kit")
    (view,) = linked(all_of(bystanders(500), kit, pool)).clusters()
    assert {account_id.split("_")[0] for account_id in view.accounts} == {"aged"}


def test_where_honest_users_outnumber_the_tied_their_client_joins_nobody() -> None:
    honest = [
        shows(f"user_{n}", (PROMPT, "template"), ("client_stack", "relay")) for n in range(200)
    ]
    found = linked(all_of(bystanders(500), honest, aged_pool(240)))
    assert not {name for view in found.clusters() for name in view.accounts} & {
        f"user_{n}" for n in range(200)
    }


@pytest.mark.parametrize(
    "honest",
    [
        pytest.param(pairs(80), id="one-card-in-two-hands"),
        pytest.param(pairs(80, ("network", "home")), id="families"),
        pytest.param(pairs(80, ("mail_domain", "firm"), (ADDRESS, "office")), id="small-firms"),
        pytest.param(pairs(80, ("tools", "own tools"), (ADDRESS, "office")), id="small-teams"),
        pytest.param(
            [
                shows(f"n_{n}", (PROMPT, "template"), (ADDRESS, f"carrier {n // 9}"))
                for n in range(400)
            ],
            id="signups-behind-a-carrier",
        ),
        pytest.param(
            [
                shows(
                    f"student_{n}",
                    (PROMPT, "template"),
                    (ADDRESS, f"campus {n % 4}"),
                    ("signup_burst", f"hour {n // 20}"),
                    ("mail_domain", "campus"),
                )
                for n in range(60)
            ],
            id="a-campus-behind-four-addresses-in-three-hours",
        ),
    ],
)
def test_honest_sharers_are_not_even_watched(honest: list[Evidence]) -> None:
    assert linked(all_of(bystanders(500), honest)).clusters() == []


@pytest.mark.parametrize("count", [0, 3, 4])
def test_what_was_to_be_expected_surprises_nobody(count: int) -> None:
    assert surprise(count, 4.0) == 0.0


def test_surprise_grows_with_the_count() -> None:
    found = [surprise(count, 2.0) for count in range(2, 40)]
    assert found == sorted(found)
