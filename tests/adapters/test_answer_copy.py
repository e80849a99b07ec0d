"""Copies of answers are bounded, one by one and together."""

from __future__ import annotations

from gateway.adapters.answer_copy import MAX_HELD_BYTES, AnswerCopy, CopyRoom
from gateway.linking.answers import MAX_ANSWER_BYTES


def test_a_copy_is_the_answer_and_frees_its_room() -> None:
    room = CopyRoom()
    copy = AnswerCopy(room, is_stream=True)
    for chunk in (b"data: a\n\n", b"data: b\n\n"):
        copy.add(chunk)
    assert room.held_bytes == 18
    assert copy.take() == b"data: a\n\ndata: b\n\n"
    assert copy.take() == b""
    assert room.held_bytes == 0


def test_an_answer_that_grows_too_large_is_given_up() -> None:
    room = CopyRoom()
    copy = AnswerCopy(room, is_stream=False)
    copy.add(b"x" * MAX_ANSWER_BYTES)
    copy.add(b"x")
    copy.add(b"x")
    assert (copy.take(), room.held_bytes) == (b"", 0)


def test_all_copies_together_are_bounded() -> None:
    room = CopyRoom()
    copies = [AnswerCopy(room, is_stream=False) for _ in range(300)]
    for copy in copies:
        copy.add(b"x" * MAX_ANSWER_BYTES)
        assert room.held_bytes <= MAX_HELD_BYTES
    assert room.held_bytes == MAX_HELD_BYTES
    assert sum(bool(copy.take()) for copy in copies) == MAX_HELD_BYTES // MAX_ANSWER_BYTES
    assert room.held_bytes == 0
