"""What every store promises of accounts and their keys, on every store."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.errors import StoreError
from gateway.model import SECOND_US, Grant, Level, Status, Subject
from tests.stores.steps import NOW_US, charge, gcra, lease, look

from .conftest import AnyStore, level_of

CREDENTIAL = "c" * 32
OTHER_CREDENTIAL = "d" * 32
DAY_US = 86_400 * SECOND_US
FULL = Subject(
    "acc_1",
    status=Status.BANNED,
    created_us=NOW_US,
    org_id="org_1",
    tier="start",
    billing_country="DE",
    email_domain="example.org",
    phone_country="DE",
    payment="f" * 32,
    signup_network="e" * 32,
    signup_path="startup",
    grants=(Grant(Level.EMAIL, NOW_US), Grant(Level.PHONE, NOW_US, NOW_US + DAY_US)),
    contracts=("aggregator",),
    sub_users=True,
    quotas={"rpm": "10/min"},
    cluster_id="c_1",
    cluster_state="suspected",
    cluster_size=12,
    cluster_since_us=NOW_US - DAY_US,
    suspicion=0.75,
)


# ── the account behind the charge ────────────────────────────────────────────────────────────


async def test_a_charge_with_the_current_version_passes(store: AnyStore) -> None:
    stored = await store.put(Subject("acc_1"), {CREDENTIAL: "key_1"})
    reply = await store.charge(charge(gcra(), account_id="acc_1", version=stored.version))
    assert reply.applied
    assert not reply.is_stale


async def test_a_stale_version_charges_nothing_anywhere_and_gets_the_new_subject(
    store: AnyStore,
) -> None:
    old = await store.put(Subject("acc_1"), None)
    new = await store.put(replace(old, status=Status.BANNED), None)
    elsewhere = gcra(tag="o:org_1")
    reply = await store.charge(
        charge(gcra(), elsewhere, lease(), account_id="acc_1", version=old.version)
    )
    assert reply.is_stale
    assert reply.subject == new
    assert not reply.applied
    for step in (gcra(), elsewhere, lease()):
        assert await level_of(store, step) <= NOW_US
        assert (await store.charge(charge(look(step)))).applied


async def test_a_charge_without_steps_still_validates_the_account(store: AnyStore) -> None:
    old = await store.put(Subject("acc_1"), None)
    assert not (await store.charge(charge(account_id="acc_1", version=old.version))).is_stale
    await store.put(old, None)
    assert (await store.charge(charge(account_id="acc_1", version=old.version))).is_stale


async def test_a_charge_for_an_account_that_is_gone_is_stale_with_nobody(store: AnyStore) -> None:
    stored = await store.put(Subject("acc_1"), {CREDENTIAL: "key_1"})
    assert await store.remove("acc_1")
    reply = await store.charge(charge(gcra(), account_id="acc_1", version=stored.version))
    assert reply.is_stale
    assert reply.subject is None
    assert await store.resolve(CREDENTIAL) is None
    assert not await store.remove("acc_1")


async def test_every_fact_of_an_account_survives_the_store(store: AnyStore) -> None:
    stored = await store.put(FULL, {CREDENTIAL: "key_1"})
    assert replace(stored, version=0, pseudonym=None) == FULL
    assert await store.get("acc_1") == stored
    identity = await store.resolve(CREDENTIAL)
    assert identity is not None
    assert (identity.subject, identity.key_id) == (stored, "key_1")


async def test_a_version_only_grows_even_past_a_removal(store: AnyStore) -> None:
    versions = [(await store.put(Subject("acc_1"), None)).version for _ in range(5)]
    await store.remove("acc_1")
    versions.append((await store.put(Subject("acc_1"), None)).version)
    assert versions == sorted(set(versions))


async def test_writing_over_an_unseen_change_is_a_conflict_that_changes_nothing(
    store: AnyStore,
) -> None:
    old = await store.put(Subject("acc_1"), {CREDENTIAL: "key_1"})
    new = await store.put(replace(old, tier="scale"), None)
    with pytest.raises(StoreError, match="changed meanwhile") as caught:
        await store.put(replace(old, tier="start"), {OTHER_CREDENTIAL: "key_2"})
    assert caught.value.kind == "conflict"
    assert await store.get("acc_1") == new
    assert await store.keys("acc_1") == {CREDENTIAL: "key_1"}
    assert await store.resolve(OTHER_CREDENTIAL) is None


async def test_a_pseudonym_is_given_once_and_leads_back_until_the_account_is_erased(
    store: AnyStore,
) -> None:
    stored = await store.put(Subject("acc_1"), None)
    again = await store.put(stored, None)
    assert stored.pseudonym
    assert again.pseudonym == stored.pseudonym
    assert await store.account_of(stored.pseudonym) == "acc_1"
    await store.remove("acc_1")
    assert await store.account_of(stored.pseudonym) is None


# ── keys ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_revoked_key_resolves_to_nobody_and_every_cache_is_told(store: AnyStore) -> None:
    old = await store.put(Subject("acc_1"), {CREDENTIAL: "key_1", OTHER_CREDENTIAL: "key_2"})
    new = await store.put(old, {OTHER_CREDENTIAL: "key_2"})
    assert await store.resolve(CREDENTIAL) is None
    assert await store.resolve(OTHER_CREDENTIAL) is not None
    assert await store.keys("acc_1") == {OTHER_CREDENTIAL: "key_2"}
    assert (await store.charge(charge(account_id="acc_1", version=old.version))).is_stale
    assert not (await store.charge(charge(account_id="acc_1", version=new.version))).is_stale


async def test_a_key_that_changes_hands_is_told_to_its_former_account(store: AnyStore) -> None:
    moves: list[tuple[str, str]] = []

    def note(key_id: str, former_id: str) -> None:
        moves.append((key_id, former_id))

    former = await store.put(Subject("acc_1"), {CREDENTIAL: "key_1"}, on_move=note)
    await store.put(former, {CREDENTIAL: "key_1"}, on_move=note)
    assert moves == []
    former = await store.put(Subject("acc_1"), None)
    await store.put(Subject("acc_2"), {CREDENTIAL: "key_9"}, on_move=note)
    assert moves == [("key_9", "acc_1")]
    identity = await store.resolve(CREDENTIAL)
    assert identity is not None
    assert (identity.subject.account_id, identity.key_id) == ("acc_2", "key_9")
    assert await store.keys("acc_1") == {}
    assert (await store.charge(charge(account_id="acc_1", version=former.version))).is_stale


async def test_an_account_written_without_keys_keeps_them(store: AnyStore) -> None:
    stored = await store.put(Subject("acc_1"), {CREDENTIAL: "key_1"})
    await store.put(stored, None)
    assert await store.keys("acc_1") == {CREDENTIAL: "key_1"}


async def test_every_account_is_listed(store: AnyStore) -> None:
    names = {f"acc_{n}" for n in range(70)} | {"odd {name}"}
    for name in names:
        await store.put(Subject(name), None)
    assert {subject.account_id async for subject in store.accounts()} == names


# ── adoption ─────────────────────────────────────────────────────────────────────────────────

ADOPTED = Subject("key_1", status=Status.ADOPTED)


async def test_whoever_adopts_first_is_what_everybody_gets(store: AnyStore) -> None:
    first = await store.adopt(CREDENTIAL, ADOPTED, ttl_us=DAY_US)
    second = await store.adopt(CREDENTIAL, replace(ADOPTED, tier="other"), ttl_us=DAY_US)
    identity = await store.resolve(CREDENTIAL)
    assert first == second
    assert identity is not None
    assert (identity.subject, identity.key_id) == (first, None)
    assert first.version > 0


async def test_adopting_a_known_credential_changes_nothing(store: AnyStore) -> None:
    known = await store.put(Subject("acc_1"), {CREDENTIAL: "key_1"})
    assert await store.adopt(CREDENTIAL, ADOPTED, ttl_us=DAY_US) == known
    assert await store.get("key_1") is None


async def test_an_adopted_key_that_an_operator_hands_out_was_nobodys(store: AnyStore) -> None:
    await store.adopt(CREDENTIAL, ADOPTED, ttl_us=DAY_US)
    moves: list[str] = []
    await store.put(Subject("acc_1"), {CREDENTIAL: "key_1"}, on_move=lambda *m: moves.extend(m))
    assert moves == []
    assert await store.keys("key_1") == {}


async def test_adopting_again_never_lifts_a_ban(store: AnyStore) -> None:
    adopted = await store.adopt(CREDENTIAL, ADOPTED, ttl_us=DAY_US)
    banned = await store.put(replace(adopted, status=Status.BANNED), {})
    assert await store.resolve(CREDENTIAL) is None
    assert await store.adopt(CREDENTIAL, ADOPTED, ttl_us=DAY_US) == banned
    identity = await store.resolve(CREDENTIAL)
    assert identity is not None
    assert identity.subject.status is Status.BANNED


async def test_removing_an_adopted_account_forgets_its_credential(store: AnyStore) -> None:
    await store.adopt(CREDENTIAL, ADOPTED, ttl_us=DAY_US)
    assert list(await store.keys("key_1")) == [CREDENTIAL]
    assert await store.remove("key_1")
    assert await store.resolve(CREDENTIAL) is None
    assert await store.keys("key_1") == {}


async def test_an_adopted_account_that_nobody_asks_for_lapses_with_all_that_leads_to_it(
    store: AnyStore,
) -> None:
    adopted = await store.adopt(CREDENTIAL, ADOPTED, ttl_us=2_000)
    async with asyncio.timeout(5):
        # In a store of several commands each record ends by itself, within milliseconds.
        while await store.get("key_1") is not None or await store.keys("key_1") != {}:  # noqa: ASYNC110 - the store's own clock
            await asyncio.sleep(0.002)
    assert await store.resolve(CREDENTIAL) is None
    assert [one async for one in store.accounts()] == []
    reply = await store.charge(charge(account_id="key_1", version=adopted.version))
    assert (reply.is_stale, reply.subject) == (True, None)
