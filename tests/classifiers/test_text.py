"""Text comes out as the words it is meant to be read as, at a bounded price."""

from __future__ import annotations

import json
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.classifiers.text import (
    _MIXED,
    HEAD_BYTES,
    LEAST_MIDDLE_BYTES,
    MIDDLE_BYTES,
    MIDDLE_PIECES,
    PIECE_BYTES,
    TAIL_BYTES,
    _different,
    _is_mixed,
    ends_of,
    folded,
    marks_of,
    measured,
    middle_of,
    unescaped,
)


def words_of(raw: bytes) -> list[str]:
    return folded(raw).split()


def raw(text: str, *, is_ascii: bool = False) -> bytes:
    return json.dumps(text, ensure_ascii=is_ascii).encode()


@pytest.mark.parametrize(
    "text",
    [
        "Grade the answer",
        "GRADE\nthe\tanswer!",
        "“Grade”—‘the’ «answer»…",
        "Gr\u200bade t\u00adhe ans\ufeffwer",
        "Ｇｒａｄｅ ｔｈｅ ａｎｓｗｅｒ",
        "𝐆𝐫𝐚𝐝𝐞 𝐭𝐡𝐞 𝐚𝐧𝐬𝐰𝐞𝐫",
        "Grаde the аnswer",  # Cyrillic а
        "Gr\u0334ade the a\u0336nswer",
    ],
    ids=[
        "plain",
        "case",
        "quoted",
        "hidden",
        "full_width",
        "mathematical",
        "look_alikes",
        "struck_through",
    ],
)
@pytest.mark.parametrize("is_ascii", [False, True], ids=["utf8", "escaped"])
def test_every_writing_of_a_text_is_one_text(text: str, is_ascii: bool) -> None:
    assert words_of(raw(text, is_ascii=is_ascii)) == ["grade", "the", "answer"]


@given(st.text('ab \\/"\n\tu0é请😀“\u2028'))
def test_escapes_of_characters_are_undone_and_no_others(text: str) -> None:
    assert unescaped(raw(text, is_ascii=True)) == raw(text)


def test_a_long_text_in_escapes_is_read_as_it_would_be_without() -> None:
    text = "请根据评分标准给答案打分，满分十分。" * 40
    for more in range(7):  # the cut falls on every byte of an escape
        ends = ends_of(raw("x" * more + text, is_ascii=True))
        assert folded(ends).count("打分") >= 8


def test_letters_of_one_alphabet_stay_what_they_are() -> None:
    assert folded(raw("Оцени ответ")).strip() == "оцени ответ"
    assert folded(raw("Über Größe")).strip() == "über größe"
    assert folded(raw("请打分：好")).strip() == "请打分 好"


@given(st.text("aZ1 .яΩéи请ｐ\u200b", max_size=40))
def test_alphabets_that_meet_are_told_by_bytes_as_by_letters(text: str) -> None:
    assert _is_mixed(text) is (_MIXED.search(text) is not None)


@given(st.binary(max_size=80))
def test_different_bytes_are_those_of_a_set(leads: bytes) -> None:
    assert _different(leads) == frozenset(leads)


@given(st.binary(max_size=400))
def test_no_bytes_break_it(data: bytes) -> None:
    words = folded(data)
    assert words.encode().decode() == words
    assert words[:1] == words[-1:] == " "


@pytest.mark.parametrize("space", ["  ", "     ", "\u00a0\u3000 ", "\n", "\t"])
def test_words_of_a_phrase_stay_beside_each_other(space: str) -> None:
    written = raw(f"step{space}by{space}step")
    assert " step by step " in folded(written)


def test_a_mark_between_words_leaves_one_space_more_than_there_was() -> None:
    assert folded(raw("Step, by (all) steps.")) == " step  by  all  steps  "


@given(st.text(max_size=300), st.integers(0, 1_800))
def test_a_cut_anywhere_leaves_words_of_whole_characters(text: str, at: int) -> None:
    for cut in (raw(text * 9, is_ascii=True)[at:], raw(text * 9)[:at]):
        for word in words_of(cut):
            assert word == word.lower().strip() != ""
            assert word.encode().decode() == word  # strict: no half character


@given(st.text("aBé请 ,\n", max_size=60), st.integers(0, 400), st.booleans())
def test_a_cut_anywhere_costs_no_word_but_the_one_it_cuts(
    text: str, at: int, is_ascii: bool
) -> None:
    written = raw(text, is_ascii=is_ascii)
    whole, first, last = words_of(written), words_of(written[:at]), words_of(written[at:])
    assert first[:-1] == whole[: len(first)][:-1]
    assert last[1:] == whole[len(whole) - len(last) :][1:]


@given(st.text('aB éÉß÷请ー한，？：（\u3000\n"1', max_size=60), st.integers(0, 120))
def test_letters_are_the_same_whether_the_short_way_or_the_long(text: str, at: int) -> None:
    written = raw(text)[at:].removesuffix(b'"')
    words, letters = measured(written + b'"', marks_of(written))
    other = written + ' ж"'.encode()  # what might look like other letters: the long way
    assert (words.split(), letters) == (words_of(other)[:-1], letters_of(words))


def letters_of(text: str) -> int:
    return sum(3 if "\u3000" <= one < "\ue000" else 1 for one in text) - 2


def test_only_the_ends_of_a_long_text_are_looked_at() -> None:
    ends = ends_of(memoryview(b"a" * 10 + b"b" * 10**6 + b"c" * 10))
    assert len(ends) == HEAD_BYTES + TAIL_BYTES + 1
    assert ends.startswith(b"a" * 10)
    assert ends.endswith(b"c" * 10)


@pytest.mark.parametrize("size", [1_200, 3_000, 6_000, 200_000])
def test_the_middle_is_read_whole_or_in_pieces_and_never_beyond_its_bound(size: int) -> None:
    text = b"".join(b"%07d " % n for n in range(size // 8))
    middle = middle_of(memoryview(text))
    inner = text[HEAD_BYTES:-TAIL_BYTES]
    if len(inner) < LEAST_MIDDLE_BYTES:
        assert middle == b""
    elif len(inner) <= MIDDLE_BYTES:
        assert middle == inner
    else:
        assert len(middle) == MIDDLE_BYTES + MIDDLE_PIECES - 1
        assert middle[:PIECE_BYTES] == inner[:PIECE_BYTES]
        assert text.find(middle[-PIECE_BYTES:]) + PIECE_BYTES >= len(text) - TAIL_BYTES - 8


@pytest.mark.parametrize(
    "hostile",
    [
        b"\\" * 1_400,
        b"\\u" * 700,
        b"\\ud83d" * 230,
        b"(" * 1_400,
        "ͣ".encode() * 700,
        "aа".encode() * 400,
    ],
    ids=["backslashes", "cut_escapes", "half_pairs", "brackets", "marks", "mixed"],
)
def test_what_is_made_to_be_slow_is_not(hostile: bytes) -> None:
    started = process_time()
    for _ in range(20):
        folded(hostile)
    assert process_time() - started < 0.2  # 10 ms each: a thousand times what a text takes
