"""Which spellings are one mailbox, and which texts are no address."""

from __future__ import annotations

import pytest

from gateway.friction.mail_address import AddressError, is_listed, parse_address


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        pytest.param("ada@example.org", "ada@example.org", id="plain"),
        pytest.param(" Ada@EXAMPLE.org ", "ada@example.org", id="case and space"),
        pytest.param("ada+a+b@example.org", "ada@example.org", id="plus"),
        pytest.param("a.d.a+x@googlemail.com", "ada@gmail.com", id="gmail"),
        pytest.param("a.d.a@example.org", "a.d.a@example.org", id="dots elsewhere count"),
        pytest.param("ada@bücher.example", "ada@xn--bcher-kva.example", id="international"),
        pytest.param("ada@example.org.", "ada@example.org", id="root dot"),
    ],
)
def test_spellings_of_one_mailbox_are_equal(text: str, mailbox: str) -> None:
    assert parse_address(text).mailbox == mailbox


@pytest.mark.parametrize(
    "text",
    [
        *("", "ada", "@example.org", "ada@", "ada@localhost", "ada@127.0.0.1", "a b@example.org"),
        *("ada@exa mple.org", "ada@example.org\nBcc: b@example.org", '"a b"@example.org'),
        *("ada@-x.org", "a..b@example.org", ".a@example.org", "x" * 65 + "@example.org"),
        *("a@" + "b" * 64 + ".org", "a@b.org, c@d.org", "Ada <a@b.org>", "a@b@c.org\0"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text)


def test_what_is_shown_is_recognised_by_its_owner_only() -> None:
    assert parse_address("ada.lovelace+x@example.org").shown == "a…@example.org"


def test_domains_below_a_listed_one_are_listed() -> None:
    listed = frozenset({"throwaway.example"})
    assert is_listed("throwaway.example", listed)
    assert is_listed("a.b.throwaway.example", listed)
    assert not is_listed("notthrowaway.example", listed)
    assert not is_listed("example", listed)
