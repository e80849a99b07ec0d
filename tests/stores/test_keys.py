"""Names of keys: what callers can influence is bounded and cannot leave its hash tag."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from gateway.stores.keys import Keys, plain

KEYS = Keys("hg:")
any_text = st.text(max_size=300)


@given(any_text)
def test_a_name_is_short_and_holds_no_brace(name: str) -> None:
    assert len(plain(name)) <= 96
    assert plain(name).isascii()
    assert not set(plain(name)) & set("{}\n\r \x00")


@given(any_text, any_text)
def test_different_names_stay_different(one: str, other: str) -> None:
    assert (plain(one) == plain(other)) == (one == other)


@given(any_text, any_text)
def test_everything_of_an_account_is_in_one_slot(account_id: str, field: str) -> None:
    tag = f"a:{account_id}"
    names = [
        KEYS.counters(tag, is_shadow=False),
        KEYS.counters(tag, is_shadow=True),
        KEYS.leases(tag, field, is_shadow=False),
        KEYS.leases(tag, field, is_shadow=True),
        KEYS.subject(account_id),
        KEYS.account_keys(account_id),
    ]
    assert len({key_slot(name.encode()) for name in names}) == 1
    assert len(set(names)) == len(names)
