"""Cookies that say who is signed in."""

from __future__ import annotations

import pytest

from gateway.console.browser.session import MAX_NAME_CHARS, SESSION_S, Sessions

NOW_S = 1_776_816_000
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("name", ["ada", "Ada L. (on call); x=1", "阿达", "a" * MAX_NAME_CHARS])
def test_a_cookie_says_who_signed_in_until_it_ends(name: str) -> None:
    sessions = Sessions(TOKEN)
    cookie = sessions.cookie_for(name, NOW_S)
    assert set(cookie) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.%-_~")
    found = sessions.read(cookie, NOW_S + SESSION_S - 1)
    assert found is not None
    assert (found.by, found.ends_s) == (name, NOW_S + SESSION_S)
    assert sessions.read(cookie, NOW_S + SESSION_S) is None


def test_nothing_that_was_not_signed_here_is_a_session() -> None:
    sessions = Sessions(TOKEN)
    cookie = sessions.cookie_for("ada", NOW_S)
    ends, by, mac = cookie.split(".")
    later = f"{int(ends) + 1}.{by}.{mac}"
    somebody = f"{ends}.eve.{mac}"
    of_another = Sessions(TOKEN[::-1]).cookie_for("ada", NOW_S)
    for forged in ("", ".", "..", "x", later, somebody, cookie[:-1], cookie + "0", of_another):
        assert sessions.read(forged, NOW_S) is None, forged
    assert sessions.read("ü" * 10 + ".x.ü", NOW_S) is None
    assert sessions.read(cookie + "0" * 10_000, NOW_S) is None


def test_a_form_belongs_to_one_session_and_is_no_session() -> None:
    sessions = Sessions(TOKEN)
    cookies = [sessions.cookie_for(name, NOW_S) for name in ("ada", "eve")]
    found = [sessions.read(cookie, NOW_S) for cookie in cookies]
    tokens = {one.form_token for one in found if one is not None}
    assert len(tokens) == 2
    for cookie, token in zip(cookies, tokens, strict=True):
        assert token not in cookie
        assert sessions.read(f"{cookie.rpartition('.')[0]}.{token}", NOW_S) is None


@pytest.mark.parametrize(
    ("given", "is_it"),
    [(TOKEN, True), (f" {TOKEN}\n", True), ("", False), (TOKEN[:-1], False), ("\ud800", False)],
)
def test_only_the_admin_token_opens(given: str, is_it: bool) -> None:
    assert Sessions(TOKEN).is_admin_token(given) is is_it
