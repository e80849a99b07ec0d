"""How often codes may be asked for, tried over days on the store's own arithmetic."""

from __future__ import annotations

from gateway.friction.brakes import HOUR_US, code_brakes
from gateway.model import SECOND_US
from gateway.stores.memory import MemoryStore

VICTIMS = "em:0123456789abcdef0123"
MINUTE_US = 60 * SECOND_US


async def codes_sent(account_id: str, proof: str, store: MemoryStore, now_us: int) -> int:
    """1 where a code was sent."""
    charge = code_brakes(
        "lease", account_id=account_id, network=account_id, proof=proof, codes_per_hour=3_600
    )
    return int((await store.charge(charge)).applied)


async def test_one_account_cannot_keep_a_strangers_mailbox_busy() -> None:
    clock = [1_800_000_000 * SECOND_US]
    store = MemoryStore(lambda: clock[0])
    theirs = owners = 0
    for _ in range(3 * 24 * 60):
        theirs += await codes_sent("attacker", VICTIMS, store, clock[0])
        clock[0] += MINUTE_US
        if clock[0] % (12 * HOUR_US) < MINUTE_US:
            owners += await codes_sent("owner", VICTIMS, store, clock[0])
    assert theirs <= 6 + 3 * 6
    assert owners == 6, "twice a day, and each time there was room"


async def test_who_waits_for_a_code_may_ask_six_times_within_the_hour() -> None:
    clock = [1_800_000_000 * SECOND_US]
    store = MemoryStore(lambda: clock[0])
    sent = 0
    for _ in range(60):
        sent += await codes_sent("owner", VICTIMS, store, clock[0])
        clock[0] += MINUTE_US
    assert sent == 6
    assert await codes_sent("owner", "em:another", store, clock[0] + HOUR_US)
