"""Lines of a traffic log: what is kept of their headers holds for equal headers only."""

from __future__ import annotations

import msgspec
import pytest

from gateway.workers.traffic import head_of, headers_of


def raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def test_heads_that_differ_in_their_length_alone_are_read_once() -> None:
    first = head_of(raw('[["user-agent","a/1"],["content-length","17"],["x","y"]]'))
    assert head_of(raw('[["user-agent","a/1"],["content-length","1800"],["x","y"]]')) is first
    assert first[1].user_agent == "a/1"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('[["content-length","1"],["user-agent","a"]]', '[["content-length","2"]]'),
        ('[["content-length","1x"]]', '[["content-length","2x"]]'),
        ('[["a","[\\"content-length\\",\\"1\\"]"]]', '[["a","[\\"content-length\\",\\"2\\"]"]]'),
        ('[["content-length","1"],["b","1"]]', '[["content-length","1"],["b","2"]]'),
    ],
)
def test_heads_that_differ_otherwise_are_told_apart(one: str, other: str) -> None:
    assert head_of(raw(one)) is not head_of(raw(other))


def test_headers_come_as_a_surface_has_them() -> None:
    assert headers_of(raw('[["User-Agent","é"]]')) == [(b"user-agent", "é".encode())]


@pytest.mark.parametrize("text", ["{}", '[["a"]]', '[["content-length",7]]', '["a","b"]'])
def test_what_is_no_list_of_pairs_is_refused(text: str) -> None:
    with pytest.raises(msgspec.MsgspecError):
        head_of(raw(text))
