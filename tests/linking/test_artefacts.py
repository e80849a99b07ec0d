"""What counts as unguessable, and that an answer and its place in a history yield the same."""

from __future__ import annotations

import itertools
import json
import re
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.linking.answers import MAX_ANSWER_BYTES, issued_in, issued_in_stream
from gateway.linking.artefacts import chained_in, is_unguessable, passages, returned_in
from gateway.linking.opening import read_opening

CALL = "call_Zq3vX81kLmN0pR7sT2uW4yBd"
TOOL = "toolu_01Hq9vX81kLmN0pR7sT2uW4y"
SEAL = "EpwCCkYIBxgCKkDk3Zq3vX81kLmN0pR7sT2uW4yBd0123456789abcdefgh=="
TEXT = (
    "The weekly ledger depends on the shared parser of ours. "
    "A missing contract outlives the nightly weather report! "
    "Every open ticket was copied from the signed survey.\nThe end."
)


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        pytest.param(CALL, True, id="a-call-id"),
        pytest.param(TOOL, True, id="a-tool-use-id"),
        pytest.param("0b7f3a52-5d0c-4b8e-9f0e-6c1d2e3f4a5b", True, id="a-uuid"),
        pytest.param("functions.get_weather:0", False, id="a-name-and-a-counter"),
        pytest.param("D681PevKs", False, id="nine-characters"),
        pytest.param("call_00000000000000000000000001", False, id="a-long-counter"),
        pytest.param("call_get-the-weather-of-tomorrow", False, id="words"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_only_what_nobody_can_guess_is_an_artefact(text: str, claim: bool) -> None:
    assert is_unguessable(text) is claim


def test_short_texts_have_no_passage_and_long_ones_always_the_same() -> None:
    assert passages(b"Yes. No. I am sorry, but I cannot help with that.") == []
    spaced = "  " + TEXT.replace(". ", ".\n\n")
    assert passages(TEXT.encode()) == passages(spaced.encode())
    assert len(passages(TEXT.encode())) == 2


CHAT_TOOL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": CALL, "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
THOUGHT = {
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": SEAL},
        {"type": "text", "text": TEXT},
        {"type": "tool_use", "id": TOOL, "name": "f", "input": {"id": 5}},
    ],
}
ITEMS = [
    {"type": "reasoning", "id": "rs_" + "0123456789abcdef" * 3, "encrypted_content": SEAL},
    {"type": "function_call", "call_id": CALL, "name": "f", "arguments": "{}"},
    {
        "type": "message",
        "id": "msg_" + "fedcba9876543210" * 3,
        "role": "assistant",
        "content": [{"type": "output_text", "text": TEXT}],
    },
]
DIALECTS = [
    pytest.param(
        {"id": "chatcmpl-1", "choices": [{"message": CHAT_TOOL}]},
        {"messages": [CHAT_TOOL, {"role": "tool", "tool_call_id": CALL, "content": "ok"}]},
        id="chat-tool-call",
    ),
    pytest.param(
        {"choices": [{"message": {"role": "assistant", "content": TEXT}}]},
        {"messages": [{"role": "assistant", "content": TEXT}, {"role": "user", "content": "go"}]},
        id="chat-text",
    ),
    pytest.param(
        {"id": "msg_1", "type": "message", **THOUGHT},
        {
            "messages": [
                {"role": "user", "content": "q"},
                THOUGHT,
                {"role": "user", "content": "go"},
            ]
        },
        id="messages",
    ),
    pytest.param(
        {"id": "resp_" + "0123456789abcdef" * 3, "output": ITEMS},
        {"input": [{"role": "user", "content": "q"}, *ITEMS, {"role": "user", "content": "go"}]},
        id="responses",
    ),
]


def members(body: dict[str, Any]) -> dict[str, bytes]:
    return {name: json.dumps(value).encode() for name, value in body.items()}


@pytest.mark.parametrize(("answer", "body"), DIALECTS)
def test_what_was_issued_is_found_again_in_the_history(
    answer: dict[str, Any], body: dict[str, Any]
) -> None:
    issued = set(issued_in(json.dumps(answer).encode()))
    returned = returned_in(members(body))
    assert returned
    assert set(returned) <= issued


def test_a_chained_response_brings_the_id_of_the_one_before() -> None:
    answer = {"id": "resp_" + "0123456789abcdef" * 3, "output": ITEMS}
    body = {"previous_response_id": answer["id"], "input": "go on"}
    assert set(returned_in(members(body))) <= set(issued_in(json.dumps(answer).encode()))
    assert returned_in(members(body)) == [answer["id"]]


def test_only_the_last_turn_of_a_history_counts() -> None:
    """Else each artefact of a long conversation would be seen on every account it passes."""
    old = {"role": "assistant", "content": TEXT}
    new = {"role": "assistant", "content": "Short."}
    user = {"role": "user", "content": "go"}
    assert returned_in(members({"messages": [user, old, user, new, user]})) == []


def test_a_pasted_answer_is_no_history() -> None:
    assert returned_in(members({"messages": [{"role": "user", "content": TEXT}]})) == []


@pytest.mark.parametrize(
    "raw", [b"", b"null", b"{", b'{"choices":7}', b'{"content":[{"id":5}]}', b"[" * 5_000]
)
def test_what_cannot_be_read_yields_nothing(raw: bytes) -> None:
    assert issued_in(raw) == []
    assert returned_in({"messages": raw}) == []
    assert issued_in_stream(raw) == []


def test_an_answer_over_the_bound_is_not_read() -> None:
    raw = json.dumps({"role": "assistant", "content": TEXT + " " * MAX_ANSWER_BYTES}).encode()
    assert issued_in(raw) == []


def events(*parts: dict[str, Any]) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(part).encode() for part in parts)


def deltas() -> list[str]:
    return [TEXT[at : at + 7] for at in range(0, len(TEXT), 7)]


def test_a_streamed_chat_answer_yields_what_the_whole_one_does() -> None:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk"}
    stream = events(
        *({**head, "choices": [{"index": 0, "delta": {"content": one}}]} for one in deltas())
    )
    whole = {"choices": [{"message": {"role": "assistant", "content": TEXT}}]}
    assert issued_in_stream(stream) == issued_in(json.dumps(whole).encode())
    call = {"index": 0, "id": CALL, "type": "function", "function": {"name": "f"}}
    stream = events({**head, "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    assert issued_in_stream(stream) == [CALL]


@given(st.lists(st.sampled_from(['"', "\\", "\n", "ü", "\U0001f600", "A sentence, "]), max_size=9))
def test_escapes_in_a_stream_change_nothing(odd: list[str]) -> None:
    pieces = [*odd, TEXT, *odd]
    chunks = ({"choices": [{"delta": {"content": one}}]} for one in pieces)
    whole = {"choices": [{"message": {"role": "assistant", "content": "".join(pieces)}}]}
    assert issued_in_stream(events(*chunks)) == issued_in(json.dumps(whole).encode())


def test_a_streamed_message_yields_what_the_whole_one_does() -> None:
    stop = {"type": "content_block_stop", "index": 0}
    start: dict[str, Any] = {"type": "content_block_start"}
    stream = events(
        {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": SEAL}},
        stop,
        {**start, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": one}}
            for one in deltas()
        ),
        stop,
        {**start, "content_block": {"type": "tool_use", "id": TOOL, "name": "f", "input": {}}},
        stop,
    )
    assert sorted(issued_in_stream(stream)) == sorted(issued_in(json.dumps(THOUGHT).encode()))


def test_a_streamed_response_is_read_from_its_last_event() -> None:
    answer = {"id": "resp_" + "0123456789abcdef" * 3, "output": ITEMS}
    stream = events(
        {"type": "response.output_text.delta", "delta": "The"},
        {"type": "response.completed", "response": answer},
    )
    assert issued_in_stream(stream) == issued_in(json.dumps(answer).encode()) != []


def test_words_of_the_protocol_in_a_text_hide_no_answer() -> None:
    mention = 'It ends with "response.completed". '
    chunks = ({"choices": [{"delta": {"content": one}}]} for one in (mention, *deltas()))
    whole = {"choices": [{"message": {"role": "assistant", "content": mention + TEXT}}]}
    assert issued_in_stream(events(*chunks)) == issued_in(json.dumps(whole).encode()) != []
    answer = {"id": "resp_" + "0123456789abcdef" * 3, "output": ITEMS}
    claimed = {"metadata": {"note": "response.completed"}}
    stream = events(
        {"type": "response.created", "response": {**answer, **claimed, "output": []}},
        {"type": "response.completed", "response": {**answer, **claimed}},
    )
    assert issued_in_stream(stream) == issued_in(json.dumps(answer).encode()) != []


@pytest.mark.parametrize(
    ("entries", "is_first"),
    [
        pytest.param([{"role": "user", "content": TEXT}], True, id="a-question"),
        pytest.param([{"role": "system", "content": "s"}, {"role": "user"}], True, id="prompted"),
        pytest.param([{"role": "assistant", "content": TEXT}], False, id="an-answer"),
        pytest.param([{"type": "reasoning", "id": CALL}, {"role": "user"}], False, id="reasoning"),
        pytest.param([{"type": "function_call", "call_id": CALL}], False, id="a-call"),
        pytest.param([{"role": "user"}, {"role": 1}, {"role": "assistant"}], False, id="unusual"),
        pytest.param(["text"], False, id="no-entries"),
    ],
)
def test_a_first_question_is_known_as_one_and_brings_nothing(
    entries: list[Any], is_first: bool
) -> None:
    members = {
        "messages": json.dumps(entries).encode(),
        "previous_response_id": json.dumps(f"resp_{CALL}").encode(),
    }
    assert read_opening(members).is_first is is_first
    if is_first:
        assert returned_in(members) == chained_in(members) == [f"resp_{CALL}"]


odd_entries: list[Any] = [
    *(CHAT_TOOL, THOUGHT, *ITEMS, {"role": "user", "content": "go"}, "text", None, {"role": 1}),
    *({"role": "assistant", "content": 7}, {"role": "assistant", "id": 5, "content": TEXT}),
    {"role": "assistant", "content": [{"type": "text", "text": TEXT}, {"id": 5}]},
]


@given(st.lists(st.sampled_from(odd_entries), max_size=24))
def test_a_history_read_in_one_go_holds_what_it_holds_entry_by_entry(entries: list[Any]) -> None:
    raw = members({"messages": entries, "previous_response_id": f"resp_{CALL}"})
    assert returned_in(raw, read_opening(raw).entries) == returned_in(raw)


def test_a_role_that_hides_behind_escapes_is_one() -> None:
    raw = json.dumps([{"role": "assistant", "content": TEXT}]).encode()
    hidden = raw.replace(b"assistant", b"\\u0061ssistant")
    assert not read_opening({"messages": hidden}).is_first
    assert returned_in({"messages": hidden}) == returned_in({"messages": raw}) != []


sentences = st.sampled_from(
    [
        *("A sentence of forty characters or a few more", "Short", "", "  padded   " * 4),
        *("Another one that is long enough to be counted", "Ein längerer Satz mit Umlauten darin"),
        "\ud800 is half of a pair, and the sentence is long",
    ]
)
marks = st.sampled_from([". ", "! ", "?", "\n", "\u3002", "\uff01", "\uff1f", ""])


@given(st.lists(st.tuples(sentences, marks), max_size=60))
def test_passages_are_those_of_the_smallest_hashes(said: list[tuple[str, str]]) -> None:
    text = "".join(sentence + mark for sentence, mark in said).encode("utf-8", "surrogatepass")
    whole = re.split(rb"[.!?\n]|" + "\u3002|\uff01|\uff1f".encode(), text[:8_192])
    raw = [part.strip() for part in whole]
    kept = [part for part in raw if len(part) >= 32]
    hashed = {
        (zlib.crc32(one) ^ 3 * zlib.crc32(other)) & 0xFFFFFFFF: one + b"|" + other
        for one, other in itertools.pairwise(kept)
    }
    expected = [hashed[value].decode("utf-8", "replace") for value in sorted(hashed)[:2]]
    assert passages(text) == expected
