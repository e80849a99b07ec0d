from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.body import (
    MAX_BATCH_PARTS,
    MAX_BATCH_REQUESTS,
    SHAPES,
    BodyFacts,
    ask_for_usage,
    read_body,
)
from gateway.adapters.body_values import MAX_ENTRIES
from gateway.errors import RequestError

MESSAGES = [{"role": "user", "content": "hi"}]
SINGLE_SHAPES = sorted(SHAPES - {"batch"})


def encode(body: object) -> bytes:
    return json.dumps(body).encode()


def read(shape: str, **members: Any) -> BodyFacts:
    return read_body(encode({"model": "m-1", **members}), shape)


def refusal(shape: str, raw: bytes) -> RequestError:
    with pytest.raises(RequestError) as refused:
        read_body(raw, shape)
    assert refused.value.status == 400
    return refused.value


def item(custom_id: str = "a", model: str = "m-1", **params: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "params": {"model": model, "messages": MESSAGES, **params}}


READ = [
    pytest.param("chat", {"messages": MESSAGES * 3}, {"message_count": 3}, id="chat-messages"),
    pytest.param("chat", {"messages": []}, {"message_count": 0}, id="chat-no-messages"),
    pytest.param("chat", {"tools": [{}, {}]}, {"tool_count": 2}, id="tools"),
    pytest.param("chat", {"tools": None}, {"tool_count": None}, id="null-is-absent"),
    pytest.param("chat", {"stream": True}, {"stream": True}, id="stream"),
    pytest.param("chat", {"stream": None}, {"stream": None}, id="stream-null"),
    pytest.param("chat", {"max_tokens": 5}, {"max_output_tokens": 5}, id="max-tokens"),
    pytest.param("chat", {"max_tokens": 0}, {"max_output_tokens": 0}, id="max-tokens-zero"),
    pytest.param(
        "chat",
        {"max_tokens": 5, "max_completion_tokens": 9},
        {"max_output_tokens": 9},
        id="the-larger-maximum",
    ),
    pytest.param("chat", {"n": 4}, {"choices": 4}, id="choices"),
    pytest.param("chat", {"temperature": 1}, {"temperature": 1.0}, id="temperature"),
    pytest.param("chat", {"user": "u"}, {"end_user": "u"}, id="user"),
    pytest.param("chat", {"user": "u" * 256}, {"end_user": "u" * 256}, id="longest-user"),
    pytest.param(
        "chat",
        {"user": "u", "safety_identifier": "s"},
        {"end_user": "s"},
        id="safety-identifier-replaces-user",
    ),
    pytest.param(
        "chat",
        {"safety_identifier": "s", "user": "u"},
        {"end_user": "s"},
        id="safety-identifier-first",
    ),
    pytest.param("chat", {"metadata": {"User_ID": 5}}, {"end_user": None}, id="openai-metadata"),
    pytest.param(
        "chat",
        {"stream_options": {"include_usage": True}},
        {"wants_usage": True, "has_stream_options": True},
        id="asks-for-usage",
    ),
    pytest.param(
        "chat",
        {"stream_options": {"include_usage": None}},
        {"wants_usage": False, "has_stream_options": True},
        id="usage-null",
    ),
    pytest.param(
        "chat", {"stream_options": None}, {"has_stream_options": False}, id="options-null"
    ),
    pytest.param("responses", {"input": "hi"}, {"message_count": 1}, id="responses-text"),
    pytest.param("responses", {"input": MESSAGES * 2}, {"message_count": 2}, id="responses-list"),
    pytest.param(
        "responses", {"max_output_tokens": 7}, {"max_output_tokens": 7}, id="responses-maximum"
    ),
    pytest.param("responses", {"max_tokens": "?"}, {"max_output_tokens": None}, id="not-its-field"),
    pytest.param("messages", {"max_tokens": 9}, {"max_output_tokens": 9}, id="messages-maximum"),
    pytest.param("messages", {"metadata": {"user_id": "u"}}, {"end_user": "u"}, id="messages-user"),
    pytest.param("messages", {"user": "u"}, {"end_user": None}, id="messages-has-no-user"),
    pytest.param("count_tokens", {"messages": MESSAGES}, {"message_count": 1}, id="count-tokens"),
    pytest.param("embeddings", {"input": ["a", "b"]}, {"items": 1, "choices": 1}, id="embeddings"),
    pytest.param("completions", {"prompt": "a"}, {"choices": 1}, id="one-prompt"),
    pytest.param("completions", {"prompt": ["a", "b"], "n": 3}, {"choices": 6}, id="prompts"),
    pytest.param("completions", {"n": 3, "prompt": [[1], [2]]}, {"choices": 6}, id="token-prompts"),
    pytest.param("completions", {"prompt": [1, 2, 3]}, {"choices": 1}, id="one-token-prompt"),
    pytest.param("completions", {"prompt": []}, {"choices": 1}, id="no-prompt"),
    pytest.param(
        "completions", {"prompt": "a", "n": 2, "best_of": 5}, {"choices": 5}, id="best-of"
    ),
]


@pytest.mark.parametrize(("shape", "members", "expected"), READ)
def test_a_body_is_read_as_its_api_documents(
    shape: str, members: dict[str, Any], expected: dict[str, Any]
) -> None:
    facts = read(shape, **members)
    assert {name: getattr(facts, name) for name in expected} == expected
    assert facts.model == "m-1"
    assert facts.text_bytes == len(encode({"model": "m-1", **members}))


def test_a_batch_counts_its_items_and_tells_their_largest_maximum() -> None:
    requests = [item("a", max_tokens=10, tools=[{}]), item("b", max_tokens=5), item("c")]
    facts = read_body(encode({"requests": requests}), "batch")
    assert (facts.model, facts.items, facts.message_count) == ("m-1", 3, 3)
    assert (facts.max_output_tokens, facts.tool_count, facts.end_user) == (10, 1, None)


def test_a_batch_has_an_end_user_only_if_all_items_name_the_same() -> None:
    same = [item("a", metadata={"user_id": "u"}), item("b", metadata={"user_id": "u"})]
    assert read_body(encode({"requests": same}), "batch").end_user == "u"
    assert read_body(encode({"requests": [*same, item("c")]}), "batch").end_user is None


REFUSED = [
    pytest.param("chat", b'{"messages":[]}', "missing_model", "`model`", id="no-model"),
    pytest.param("chat", b'{"model":null}', "missing_model", "`model`", id="null-model"),
    pytest.param("chat", b'{"model":""}', "missing_model", "`model`", id="empty-model"),
    pytest.param("responses", b'{"prompt":{}}', "missing_model", "`model`", id="stored-prompt"),
    pytest.param("chat", b'{"model":5}', "invalid_field", "`model`", id="model-number"),
    pytest.param("chat", b'{"model":["m"]}', "invalid_field", "`model`", id="model-list"),
    pytest.param("chat", encode({"model": "m" * 129}), "invalid_field", "`model`", id="long-model"),
    pytest.param("chat", b'{"model":"m\\n"}', "invalid_field", "`model`", id="newline-in-model"),
    pytest.param("chat", b'{"model":"m\\u0000"}', "invalid_field", "`model`", id="nul-in-model"),
    pytest.param("chat", b'{"model":"m\\u202e"}', "invalid_field", "`model`", id="bidi-in-model"),
    pytest.param("batch", b'{"input_file_id":"f"}', "batch_not_countable", "requests", id="file"),
    pytest.param("batch", b'{"model":"m"}', "batch_not_countable", "requests", id="no-requests"),
    pytest.param("batch", b'{"requests":[]}', "invalid_field", "`requests`", id="no-items"),
    pytest.param("batch", b'{"requests":{}}', "invalid_field", "`requests`", id="items-object"),
    pytest.param("batch", b'{"requests":[5]}', "not_an_object", "`requests[0]`", id="item-number"),
    pytest.param(
        "batch",
        encode({"requests": [item(), {"custom_id": "b"}]}),
        "not_an_object",
        "`requests[1].params`",
        id="item-without-params",
    ),
    pytest.param(
        "batch",
        encode({"requests": [item(), item(model="m-2")]}),
        "batch_mixed_models",
        "same model",
        id="two-models-in-a-batch",
    ),
    pytest.param(
        "batch",
        encode({"requests": [item()]}).replace(b'"model"', b'"model": "m-2", "model"'),
        "duplicate_key",
        "`requests[0].params`",
        id="model-twice-in-an-item",
    ),
    pytest.param(
        "batch",
        encode({"requests": [item()]}).replace(b'"params"', b'"params": {}, "params"'),
        "duplicate_key",
        "`requests[0]`",
        id="params-twice-in-an-item",
    ),
    pytest.param(
        "chat",
        b'{"model":"m","stream_options":{"include_usage":true,"include_usage":false}}',
        "duplicate_key",
        "`stream_options`",
        id="option-twice",
    ),
    pytest.param(
        "messages",
        b'{"model":"m","metadata":{"user_id":"a","user_id":"b"}}',
        "duplicate_key",
        "`metadata`",
        id="user-twice",
    ),
    pytest.param(
        "messages",
        b'{"model":"m","metadata":{"user_id":7}}',
        "invalid_field",
        "`metadata.user_id`",
        id="user-number",
    ),
    pytest.param(
        "chat",
        b'{"model":"m","stream_options":{"include_usage":1}}',
        "invalid_field",
        "`stream_options.include_usage`",
        id="usage-number",
    ),
]


def listed(entry: bytes, count: int) -> bytes:
    return b"[" + b",".join([entry] * count) + b"]"


LISTS = [
    pytest.param("chat", b'{"model":"m","messages":%b}', "messages", MAX_ENTRIES, id="messages"),
    pytest.param("chat", b'{"model":"m","tools":%b}', "tools", MAX_ENTRIES, id="tools"),
    pytest.param("responses", b'{"model":"m","input":%b}', "input", MAX_ENTRIES, id="input"),
    pytest.param("completions", b'{"model":"m","prompt":%b}', "prompt", MAX_ENTRIES, id="prompts"),
    pytest.param("batch", b'{"requests":%b}', "requests", MAX_BATCH_REQUESTS, id="requests"),
]
ONE_ITEM = b'{"params":{"model":"m"}}'


@pytest.mark.parametrize(("shape", "frame", "name", "most"), LISTS)
def test_a_list_may_have_as_many_entries_as_its_bound_and_no_more(
    shape: str, frame: bytes, name: str, most: int
) -> None:
    entry = ONE_ITEM if shape == "batch" else b'{"a":[",",1,2]}'
    read_body(frame % listed(entry, most), shape)
    refused = refusal(shape, frame % listed(entry, most + 1))
    assert refused.reason == "invalid_field"
    assert refused.message == f"`{name}` must be a list of at most {most} entries."


@pytest.mark.parametrize(("shape", "frame", "name", "most"), LISTS)
def test_a_list_beyond_its_bound_is_refused_before_it_is_taken_apart(
    shape: str, frame: bytes, name: str, most: int
) -> None:
    """Entries of a byte would weigh forty times the body; refusing them weighs no more than it."""
    raw = frame % listed(b'""', 4_000_000)
    refusal(shape, raw)  # the first one makes what it needs
    tracemalloc.start()
    refused = refusal(shape, raw)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(most) in refused.message
    assert peak_bytes < 2 * len(raw)


def test_one_prompt_may_have_as_many_token_ids_as_a_model_reads() -> None:
    facts = read_body(b'{"model":"m","prompt":%b}' % listed(b"100", 200_000), "completions")
    assert facts.prompts == 1


@pytest.mark.parametrize(
    "params",
    [
        pytest.param(b'{"model":"m","messages":%b}' % listed(b"0", MAX_ENTRIES), id="messages"),
        pytest.param(b'{"model":"m","tools":%b}' % listed(b"0", MAX_ENTRIES), id="tools"),
        pytest.param(
            b'{"model":"m",%b}' % b",".join(b'"%x":0' % n for n in range(16_000)), id="members"
        ),
        pytest.param(
            b'{"model":"m","metadata":{%b}}' % b",".join(b'"%x":0' % n for n in range(16_000)),
            id="metadata",
        ),
    ],
)
def test_what_all_requests_of_a_batch_are_made_of_has_a_bound_too(params: bytes) -> None:
    items = b'{"params":%b}' % params
    read_body(b'{"requests":%b}' % listed(items, 3), "batch")
    refused = refusal("batch", b'{"requests":%b}' % listed(items, MAX_BATCH_PARTS // 16_000 + 1))
    assert refused.reason == "invalid_field"
    assert str(MAX_BATCH_PARTS) in refused.message


@pytest.mark.parametrize(("shape", "raw", "reason", "said"), REFUSED)
def test_a_refusal_says_which_field_and_why(shape: str, raw: bytes, reason: str, said: str) -> None:
    refused = refusal(shape, raw)
    assert refused.reason == reason
    assert said in refused.message


WRONG_TYPES = [
    ("stream", ["1", '"true"', "{}", "[]"]),
    ("messages", ['"hi"', "{}", "1", "true"]),
    ("tools", ['"x"', "{}", "1"]),
    ("max_tokens", ["true", "1.0", "1e3", "-1", '"5"', "[]", "9007199254740993", "1" * 400, "-0"]),
    ("max_completion_tokens", ["true", "1.5", "-1"]),
    ("n", ["0", "-1", "1.0", "true", "65537"]),
    ("temperature", ["true", '"1"', "1e999", "9007199254740994", "[]"]),
    ("user", ["1", "[]", '"' + "u" * 257 + '"']),
    ("safety_identifier", ["{}", "false"]),
    ("stream_options", ["true", "[]", '"x"']),
]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, id=f"{name}-{value[:12]}")
        for name, vs in WRONG_TYPES
        for value in vs
    ],
)
def test_a_read_field_of_another_type_is_refused_by_name(name: str, value: str) -> None:
    refused = refusal("chat", f'{{"model":"m","{name}":{value}}}'.encode())
    assert refused.reason in ("invalid_field", "not_an_object")
    assert f"`{name}`" in refused.message


@pytest.mark.parametrize("shape", SINGLE_SHAPES)
def test_every_shape_refuses_a_model_that_comes_twice_or_not_at_all(shape: str) -> None:
    assert refusal(shape, b'{"model":"a","model":"b"}').reason == "duplicate_key"
    assert refusal(shape, b'{"model":"a","\\u006dodel":"b"}').reason == "duplicate_key"
    assert refusal(shape, b'{"model":"a","MODEL":"b"}').reason == "ambiguous_key"
    assert refusal(shape, b"{}").reason == "missing_model"


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_no_refusal_repeats_what_was_sent(shape: str) -> None:
    secret = "hunter2"
    for raw in (
        f'{{"model":["{secret}"]}}',
        f'{{"{secret}":1,"{secret}":2}}',
        f'{{"model":"m","stream":"{secret}","requests":"{secret}"}}',
        f'{{"model":"{secret}\\n","requests":[{{"params":{{"model":"{secret}\\n"}}}}]}}',
        f"{secret}",
    ):
        assert secret not in refusal(shape, raw.encode()).message


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    (
        "model",
        "stream",
        "messages",
        "input",
        "prompt",
        "tools",
        "n",
        "best_of",
        "user",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "temperature",
        "safety_identifier",
        "metadata",
        "stream_options",
        "requests",
    )
)


def read_or_refusal(raw: bytes, shape: str) -> BodyFacts | RequestError:
    try:
        return read_body(raw, shape)
    except RequestError as refused:
        return refused


def is_sound(outcome: BodyFacts | RequestError) -> bool:
    if isinstance(outcome, RequestError):
        return outcome.status == 400
    return bool(outcome.model) and outcome.items >= 1 and outcome.choices >= 1


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(sorted(SHAPES)), st.dictionaries(FIELDS, JSON_VALUES, max_size=6))
def test_any_object_is_read_or_refused_and_never_raises_anything_else(
    shape: str, body: dict[str, Any]
) -> None:
    assert is_sound(read_or_refusal(encode(body), shape))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SHAPES)), st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(shape: str, raw: bytes) -> None:
    assert is_sound(read_or_refusal(raw, shape))


# ── asking for usage ─────────────────────────────────────────────────────────────────────────

OPTIONS = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "include_usage": st.none() | st.just(False),
            "include_obfuscation": st.booleans(),
            "x": st.text(max_size=3),
        },
    ),
)


@settings(max_examples=500, deadline=None)
@given(
    shape=st.sampled_from(["chat", "completions"]),
    others=st.dictionaries(st.text('abc"{}:,\\ \u00e9', max_size=4), JSON_VALUES, max_size=3),
    options=st.none() | st.tuples(OPTIONS),
    indent=st.none() | st.integers(0, 2),
    is_ascii=st.booleans(),
    is_first=st.booleans(),
)
def test_asking_for_usage_changes_that_one_option_and_no_other_byte(
    shape: str,
    others: dict[str, Any],
    options: tuple[Any] | None,
    indent: int | None,
    is_ascii: bool,
    is_first: bool,
) -> None:
    asked = {} if options is None else {"stream_options": options[0]}
    body = {"model": "m", "stream": True, **others}
    body = {**asked, **body} if is_first else {**body, **asked}
    raw = json.dumps(body, indent=indent, ensure_ascii=is_ascii).encode()
    spliced = ask_for_usage(raw, read_body(raw, shape))
    expected = {**body, "stream_options": {**(asked.get("stream_options") or {})}}
    expected["stream_options"]["include_usage"] = True
    assert json.loads(spliced) == expected
    assert read_body(spliced, shape).wants_usage
    assert replaced_bytes(raw, spliced) <= len(b"false")


def replaced_bytes(before: bytes, after: bytes) -> int:
    """How many bytes of `before` are not there any more, in the same order around one place."""
    shortest = min(len(before), len(after))
    start = next((i for i in range(shortest) if before[i] != after[i]), shortest)
    left = shortest - start
    end = next((i for i in range(left) if before[-1 - i] != after[-1 - i]), left)
    return len(before) - start - end


UNASKED = [
    pytest.param("chat", {"stream": False}, id="not-streaming"),
    pytest.param("chat", {}, id="stream-not-said"),
    pytest.param("chat", {"stream": True, "stream_options": {"include_usage": True}}, id="asks"),
    pytest.param("responses", {"stream": True}, id="responses"),
    pytest.param("messages", {"stream": True}, id="messages"),
]


@pytest.mark.parametrize(("shape", "members"), UNASKED)
def test_a_body_that_needs_no_asking_stays_the_very_same(
    shape: str, members: dict[str, Any]
) -> None:
    raw = encode({"model": "m", **members})
    assert ask_for_usage(raw, read_body(raw, shape)) is raw
