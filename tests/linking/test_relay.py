"""Provenance and echo: who ends up in a ring, who never does, whatever the order."""

from __future__ import annotations

import random
from collections.abc import Iterable
from hashlib import blake2b

import pytest

from gateway.linking import relay as relays
from gateway.linking.echo import ECHO_US
from gateway.linking.evidence import Key
from gateway.linking.provenance import KEPT_US, MAX_ISSUED, Provenance
from gateway.linking.relay import LATE_US, Relay
from gateway.model import SECOND_US

NOW_US = 1_800_000_000 * SECOND_US
Told = tuple[str, int, list[tuple[str, str]]]


def issued(account: str, artefact: str, at_s: float = 0) -> Told:
    return account, NOW_US + round(at_s * SECOND_US), [("issued", artefact)]


def returned(account: str, artefact: str, talk: str, at_s: float = 10) -> Told:
    pairs = [("talk", talk), ("returned", artefact)]
    return account, NOW_US + round(at_s * SECOND_US), pairs


def refused(account: str, content: str, at_s: float = 0) -> Told:
    return account, NOW_US + round(at_s * SECOND_US), [("refused", content)]


def asked(account: str, content: str, at_s: float = 2) -> Told:
    return account, NOW_US + round(at_s * SECOND_US), [("asked", content)]


def hexed(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def rings(told: Iterable[Told], relay: Relay | None = None) -> dict[str, tuple[str, str]]:
    """account → (family, ring), after everything has settled."""
    relay = relay or Relay()
    for account, at_us, pairs in told:
        relay.note(account, at_us, [Key(family, hexed(value)) for family, value in pairs])
    return {name: (key.family, key.value) for name, key in relay.settle(NOW_US + 60 * SECOND_US)}


def round_robin(accounts: int, talks: int, name: str = "pool") -> list[Told]:
    """Each conversation has three turns on three accounts, one after the other."""
    told = []
    for talk in range(talks):
        for turn in range(3):
            account = f"{name}_{(talk + turn * (1 + talk // accounts)) % accounts}"
            told.append(issued(account, f"{name} {talk} {turn}", turn))
            if turn:
                before = f"{name} {talk} {turn - 1}"
                told.append(returned(account, before, f"{name} {talk}", turn - 0.5))
    return told


def test_a_pool_that_passes_conversations_round_is_one_ring() -> None:
    found = rings(round_robin(20, 80))
    assert set(found) == {f"pool_{n}" for n in range(20)}
    assert len(set(found.values())) == 1


def test_two_pools_are_two_rings() -> None:
    found = rings(round_robin(9, 60) + round_robin(9, 60, "other"))
    assert len(found) == 18
    assert len(set(found.values())) == 2


def test_the_issuer_is_never_implicated_by_whoever_returns() -> None:
    told = [issued("victim", f"a {n}") for n in range(50)]
    told += [returned(f"thief_{n % 2}", f"a {n}", f"talk {n}") for n in range(50)]
    assert rings(told) == {}


def test_whoever_is_handed_transcripts_of_a_pool_is_in_no_ring() -> None:
    told = round_robin(20, 80)
    told += [returned("victim", f"pool {n} 2", f"pool {n}") for n in range(40)]
    assert "victim" not in rings(told)


def test_a_moved_key_brings_from_one_account_and_is_no_ring() -> None:
    told = [issued("old", f"a {n}") for n in range(50)]
    told += [returned("new", f"a {n}", f"talk {n}") for n in range(50)]
    assert rings(told) == {}


def test_one_conversation_however_long_is_not_enough() -> None:
    told = []
    for turn in range(40):
        account, after = f"p_{turn % 4}", f"p_{(turn + 1) % 4}"
        told += [issued(account, f"a {turn}", turn), returned(after, f"a {turn}", "talk", turn + 1)]
    assert rings(told) == {}


def test_what_more_than_three_accounts_show_is_public_also_afterwards() -> None:
    provenance = Provenance()
    for n in range(8):
        provenance.issue("author", f"{n:016x}", NOW_US)
    for reader in ("r1", "r2", "r3"):
        for n in range(8):
            provenance.bring(reader, f"{n:016x}", f"talk {n}", NOW_US + 1)
    assert not any(provenance.rings.brought.values())


def test_what_was_issued_to_two_accounts_is_nobodys() -> None:
    """Boilerplate, and answers at temperature 0 to a public suite."""
    same = [issued(f"p_{n}", "same", n) for n in range(9)]
    told = [*same, *(returned(f"p_{n}", "same", f"talk {n}", 20 + n) for n in range(9))]
    assert rings(told) == {}


def test_what_comes_back_long_after_its_issue_counts_for_nothing() -> None:
    provenance = Provenance()
    provenance.issue("a", "0" * 16, NOW_US)
    provenance.bring("b", "0" * 16, "talk", NOW_US + KEPT_US + 1)
    provenance.bring("b", "0" * 16, "talk", NOW_US - 1)
    assert provenance.rings.brought == {}


def test_unknown_is_not_foreign() -> None:
    assert rings([returned(f"p_{n % 5}", f"a {n}", f"talk {n}") for n in range(50)]) == {}


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_arrival_changes_nothing(seed: int) -> None:
    told = round_robin(20, 80)
    straight = rings(told)
    random.Random(seed).shuffle(told)
    assert rings(told) == straight


def test_of_more_traces_than_can_wait_the_first_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relays, "MAX_WAITING", 4)
    relay = Relay()
    for n in range(6):
        relay.note("acc_1", NOW_US + n, [Key("issued", hexed(str(n)))])
    assert relay.dropped == 2
    list(relay.settle(NOW_US + 60 * SECOND_US))
    assert len(relay.provenance) == 4


def test_what_is_young_waits_for_what_may_come_late() -> None:
    relay = Relay()
    relay.note("a", NOW_US, [Key("issued", "0" * 16)])
    assert list(relay.settle(NOW_US + LATE_US - 1)) == []
    assert len(relay.provenance) == 0
    assert list(relay.settle(NOW_US + LATE_US)) == []
    assert len(relay.provenance) == 1


def failover(accounts: int, failures: int, *, after_s: float = 2, name: str = "pool") -> list[Told]:
    told = []
    for n in range(failures):
        account = f"{name}_{n % accounts}"
        following = f"{name}_{(n + 1 + n // accounts % max(1, accounts - 1)) % accounts}"
        told += [asked(account, f"{name} {n}", 0), refused(account, f"{name} {n}", 0.1)]
        told.append(asked(following, f"{name} {n}", after_s))
    return told


def test_a_pool_that_fails_over_is_a_ring_by_echo() -> None:
    found = rings(failover(2, 30, name="pair") + failover(6, 60, name="wide"))
    assert {family for family, _ in found.values()} == {"echo"}
    assert {name for name in found if name.startswith("wide")} == {f"wide_{n}" for n in range(6)}


def test_an_sdk_that_tries_again_on_its_own_account_echoes_nobody() -> None:
    assert rings(failover(1, 60)) == {}


def test_the_same_content_minutes_later_is_no_echo() -> None:
    assert rings(failover(6, 60, after_s=ECHO_US / SECOND_US + 1)) == {}


def test_a_suite_that_many_run_at_the_same_hour_echoes_nobody() -> None:
    """What makes a ring where nobody else asks it (above) makes none where somebody did."""
    suite = [asked("somebody", f"wide {item}", -60) for item in range(60)]
    assert rings(suite + failover(6, 60, name="wide")) == {}


def test_a_snapshot_goes_on_where_it_was() -> None:
    told = round_robin(20, 80) + failover(6, 60, name="wide")
    relay = Relay()
    rings(told[:150], relay)
    again = Relay.unpack(relay.pack())
    assert rings(told[150:], again) == rings(told[150:], relay)
    assert again.pack() == relay.pack()


def test_memory_is_bounded_and_what_is_followed_thins_out_evenly() -> None:
    provenance = Provenance()
    for n in range(MAX_ISSUED + 100):
        provenance.issue(f"a{n % 7}", f"{n * 2654435761 % 2**64:016x}", NOW_US + n)
    assert len(provenance) <= MAX_ISSUED
    assert provenance.level == 1
    provenance.forget_before(NOW_US + 2 * KEPT_US)
    assert (len(provenance), provenance.level) == (0, 0)
