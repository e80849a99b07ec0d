"""Two at once, and again and again: clicks and cards."""

from __future__ import annotations

import asyncio

import pytest

from gateway.adapters.verify.port import Offer
from gateway.friction.mail_address import parse_address
from gateway.friction.record import SESSION_TTL_US, Outcome
from gateway.model import Ask, Level
from gateway.stores.verification import VerificationBook

from .verification_house import House, directory, house

__all__ = ["directory", "house"]


async def pay(house: House, account_id: str) -> str:
    """The session of a new account that is on its way to the provider."""
    token = await house.start(account_id, Level.PAYMENT)
    session = await house.desk.open_session(await house.visit(token), Level.PAYMENT, "stripe")
    assert isinstance(session, str)
    return session


async def told(house: House, session: str, card: str | None, *, has_passed: bool) -> Outcome:
    return await house.desk.settle_session(
        session, provider="stripe", level=Level.PAYMENT, has_passed=has_passed, fingerprint=card
    )


async def test_two_clicks_at_once_on_the_right_code_are_both_thanked(house: House) -> None:
    token = await house.start("acc_1")
    address = parse_address("ada@example.org")
    offer = await house.desk.offer_mail_code(await house.visit(token), address, "n")
    assert isinstance(offer, Offer)
    visits = [await house.visit(token) for _ in range(5)]
    outcomes = await asyncio.gather(
        *(house.desk.enter_mail_code(one, offer.code, "n") for one in visits)
    )
    assert outcomes == [Outcome.PASSED] * 5
    assert house.counted.count(("email", "passed")) == 1
    stored = await house.store.get("acc_1")
    assert stored is not None
    assert [grant.level for grant in stored.grants] == [Level.EMAIL]


async def test_after_a_declined_card_another_in_the_same_visit_passes(house: House) -> None:
    session = await pay(house, "acc_1")
    assert await told(house, session, "card-1", has_passed=False) is Outcome.FAILED
    assert await told(house, session, "card-1", has_passed=False) is Outcome.DUPLICATE
    assert house.counted.count(("payment", "failed")) == 1
    assert await told(house, session, "card-2", has_passed=True) is Outcome.PASSED
    assert await told(house, session, "card-1", has_passed=False) is Outcome.DUPLICATE
    entry = await VerificationBook(house.store).read("acc_1")
    assert entry is not None
    assert [grant.level for grant in entry.subject.grants] == [Level.PAYMENT]
    assert entry.record.setback == ""


async def test_a_declined_card_may_not_pass_after_the_visit_has_expired(house: House) -> None:
    session = await pay(house, "acc_1")
    await told(house, session, "card-1", has_passed=False)
    house.clock.us += SESSION_TTL_US
    assert await told(house, session, "card-1", has_passed=True) is Outcome.UNKNOWN_SESSION


async def test_one_card_for_a_hundred_accounts_at_once_serves_five_and_ties_all(
    house: House,
) -> None:
    sessions = [await pay(house, f"acc_{number}") for number in range(100)]
    outcomes = await asyncio.gather(
        *(told(house, session, "card", has_passed=True) for session in sessions)
    )
    assert outcomes.count(Outcome.PASSED) == 5
    assert outcomes.count(Outcome.TOO_MANY_ACCOUNTS) == 95
    proofs = set()
    for number in range(100):
        stored = await house.store.get(f"acc_{number}")
        assert stored is not None
        proofs.add(stored.proofs)
    assert len(proofs) == 1
    refused = await VerificationBook(house.store).read(
        f"acc_{outcomes.index(Outcome.TOO_MANY_ACCOUNTS)}"
    )
    assert refused is not None
    assert refused.record.setback == "too_many_accounts"


@pytest.mark.parametrize(("said", "passes"), [(1, 1), (None, 5), (9, 5)])
async def test_a_rule_may_let_one_card_settle_fewer_accounts_than_the_settings_and_never_more(
    house: House, said: int | None, passes: int
) -> None:
    house.asks = (Ask("rule", Level.PAYMENT, "", None, True, said),)
    outcomes = [
        await told(house, await pay(house, f"acc_{number}"), "card", has_passed=True)
        for number in range(7)
    ]
    assert outcomes.count(Outcome.PASSED) == passes
