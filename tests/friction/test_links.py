"""Signed links: what they say comes back, and nothing that was changed does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.keyed import KeyedHash
from gateway.friction import links
from gateway.model import SECOND_US, Level

KEYED = KeyedHash(b"k" * 32)
LINK = links.Link("ab" * 12, Level.PHONE, links.tag_of("rule"), 1_800_000_000 * SECOND_US)


def signed(link: links.Link = LINK) -> str:
    token = links.sign(KEYED, link)
    assert token is not None
    return token


@given(st.binary(min_size=12, max_size=12), st.sampled_from(Level), st.integers(0, 2**40 - 1))
def test_a_link_says_what_was_signed(pseudonym: bytes, level: Level, expires_s: int) -> None:
    link = links.Link(pseudonym.hex(), level, links.tag_of("r"), expires_s * SECOND_US)
    assert links.read(KEYED, signed(link)) == link


@given(st.integers(0, 62), st.characters(codec="ascii"))
def test_no_other_token_is_believed(position: int, character: str) -> None:
    token = signed()
    changed = token[:position] + character + token[position + 1 :]
    if changed != token:
        assert links.read(KEYED, changed) is None


@pytest.mark.parametrize("token", ["", ".", "a" * 63, "a" * 10_000, signed() + "0", signed()[:-1]])
def test_what_has_another_form_is_not_read(token: str) -> None:
    assert links.read(KEYED, token) is None


def test_another_secret_believes_nothing() -> None:
    assert links.read(KeyedHash(b"o" * 32), signed()) is None
    session = links.sign_session(KEYED, LINK.pseudonym, "cd" * 12)
    assert links.read_session(KEYED, session) == (LINK.pseudonym, "cd" * 12)
    assert links.read_session(KeyedHash(b"o" * 32), session) is None


def test_a_link_is_no_session_and_a_session_no_link() -> None:
    session = links.sign_session(KEYED, LINK.pseudonym, "cd" * 12)
    assert links.read(KEYED, session) is None
    assert links.read_session(KEYED, signed()) is None


def test_pseudonyms_that_are_not_ours_get_no_link() -> None:
    assert links.sign(KEYED, replace(LINK, pseudonym="acc_1")) is None


def test_a_link_holds_no_shorter_than_it_was_made_for() -> None:
    """Whole seconds are signed: they are rounded up."""
    made = replace(LINK, expires_us=LINK.expires_us + 1)
    read = links.read(KEYED, signed(made))
    assert read is not None
    assert read.expires_us == LINK.expires_us + SECOND_US
