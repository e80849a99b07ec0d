"""A store with everything in it that people decide, as the gateway and its linker write it."""

from __future__ import annotations

from gateway.friction.record import Appeal, Record
from gateway.linking.linker import Linker
from gateway.model import Grant, Level, Status, Subject
from gateway.stores import RedisStore
from gateway.stores.lease import Lease
from gateway.stores.snapshots import Snapshots
from gateway.stores.verification import VerificationBook
from gateway.workers.linker_state import Progress, pack_state

DAY_US = 86_400_000_000
BANNED_KEYS = {"k" * 32: "key_1", "l" * 32: "key_2"}
VERIFIED_KEYS = {"m" * 32: "key_3"}
ADOPTED_KEY = "n" * 32
PROOF = "ab" * 16
BANNED = Subject("acc_banned", status=Status.BANNED, tier="start", email_domain="example.org")
ADOPTED = Subject("acc_adopted", status=Status.ADOPTED)


def verified(now_us: int) -> Subject:
    """What is no plain name is kept under its hash."""
    return Subject(
        "acc verified ü",
        created_us=now_us - DAY_US,
        grants=(Grant(Level.PHONE, now_us, now_us + DAY_US),),
        proofs=(PROOF,),
        quotas={"account-requests": "9/min"},
        contracts=("aggregator",),
        cluster_id="c_1",
        cluster_state="confirmed",
        cluster_size=3,
        suspicion=0.5,
    )


def appeal(now_us: int) -> Record:
    return Record(level=2, rule="mail-first", appeal=Appeal("it was not me", now_us))


async def fill(store: RedisStore, now_us: int) -> None:
    await store.put(BANNED, BANNED_KEYS)
    holder = verified(now_us)
    await store.put(holder, VERIFIED_KEYS)
    await store.adopt(ADOPTED_KEY, ADOPTED, ttl_us=DAY_US)
    book = VerificationBook(store)
    entry = await book.read(BANNED.account_id)
    assert entry is not None
    assert await book.commit(entry, appeal(now_us))
    await book.list_appeal(BANNED.account_id, now_us)
    until_us = now_us + DAY_US
    assert await book.claim(PROOF, holder.account_id, most=2, now_us=now_us, until_us=until_us)
    await book.bury("event_1", b"\x00news")
    await store.set_shadow_all(True)
    await decide(store, now_us)


async def decide(store: RedisStore, now_us: int) -> None:
    """A person keeps an account out of every cluster; the linker's snapshot holds it."""
    lease = Lease(store, "lease", lease_s=10)
    assert await lease.hold()
    linker = Linker()
    linker.pin("acc_pinned", None, by="ada", reason="a shared flat", now_us=now_us)
    await Snapshots(store, "snapshot").save(pack_state(Progress(), linker), lease)
