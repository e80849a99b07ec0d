"""Reading a request body: the few facts a decision needs, or a refusal that says what is wrong.

Law: two parsers must never read two requests. Whatever could be read in two ways is refused:
a key that comes twice (also after unescaping, or differing in case only), what is not JSON by
RFC 8259, a field of another type than its API documents. Fields that are not read are not
judged; that is the upstream's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from msgspec import Raw, Struct

from ..errors import RequestError
from .body_values import (
    entries_of,
    flag_of,
    is_null,
    number_of,
    text_of,
    texts_of,
    whole_of,
    wrong,
)
from .content import decode_content
from .strict_json import check_text, read_members, spans_of

__all__ = ["SHAPES", "BodyFacts", "ask_for_usage", "decode_content", "read_body"]

MAX_MODEL_CHARS = 128
MAX_END_USER_CHARS = 256
MAX_CHOICES = 65_536
MAX_BATCH_REQUESTS = 65_536
MAX_BATCH_PARTS = 1 << 20  # members, messages and tools of all requests of a batch
SHAPES = frozenset(
    {"chat", "responses", "messages", "count_tokens", "embeddings", "completions", "batch"}
)
_TOKEN_IDS = re.compile(rb"\[[ \t\n\r]*\d+[ \t\n\r]*[,\]]")
_INCLUDE_USAGE = b'"include_usage":true'


class BodyFacts(Struct, gc=False):
    """What one body says. None: it does not say. `members` are the top-level values, unparsed."""

    shape: str = ""
    model: str | None = None  # never None out of `read_body`
    stream: bool | None = None
    items: int = 1  # requests inside one batch call
    message_count: int | None = None  # messages, or entries of a Responses input
    tool_count: int | None = None
    max_output_tokens: int | None = None  # of one answer; the largest of a batch's items
    prompts: int = 1  # of a completion
    choices: int = 1  # answers asked for: n, or best_of, times the prompts
    temperature: float | None = None
    end_user: str | None = None  # as sent; at most 256 characters
    wants_usage: bool = False  # stream_options.include_usage is true
    has_stream_options: bool = False
    text_bytes: int = 0  # what counts as input for a token estimate
    parts: int = 0  # members and entries that reading it told apart, but for the top level's
    members: Mapping[str, Raw] = {}
    turns: Sequence[Raw] = ()  # of messages or input, unparsed
    item: BodyFacts | None = None  # of a batch: the request in its middle


def read_body(raw: bytes, shape: str) -> BodyFacts:
    """The facts of a decoded body (`decode_content`) of one of `SHAPES`.

    Raises RequestError 400 with one of the reasons `empty_body`, `byte_order_mark`,
    `invalid_utf8`, `malformed_json`, `not_an_object`, `too_deep`, `duplicate_key`,
    `ambiguous_key`, `missing_model`, `invalid_field`, `batch_mixed_models`,
    `batch_not_countable`.
    """
    check_text(raw)
    if shape == "batch":
        facts = _read_batch(read_members(raw, _BATCH_FIELDS, ""))
    else:
        readers = _READERS[shape]
        facts = _read_call(read_members(raw, readers, ""), readers, "")
    facts.shape = shape
    facts.text_bytes = len(raw)
    return facts


def ask_for_usage(raw: bytes, facts: BodyFacts) -> bytes:
    """The body with `stream_options.include_usage` true, no other byte changed; `raw` itself
    where nothing is to be asked: it is no streaming chat or completion call, or asks already.

    `facts` are what `read_body` made of the same `raw`.
    """
    if facts.shape not in ("chat", "completions") or not facts.stream or facts.wants_usage:
        return raw
    options = facts.members.get("stream_options")
    if options is None:
        start = raw.index(b"{") + 1
        added = b'"stream_options":{' + _INCLUDE_USAGE + b"},"
        return b"".join((raw[:start], added, memoryview(raw)[start:]))
    start, end = spans_of(raw, facts.members)["stream_options"]
    return raw[:start] + _options_with_usage(bytes(options)) + raw[end:]


def _options_with_usage(options: bytes) -> bytes:
    members = {} if options == b"null" else read_members(options, (), "")
    if not members:
        return b"{" + _INCLUDE_USAGE + b"}"
    spans = spans_of(options, members)
    if "include_usage" not in spans:
        return b"{" + _INCLUDE_USAGE + b"," + options[1:]
    start, end = spans["include_usage"]
    return options[:start] + b"true" + options[end:]


# ── one call, one batch ──────────────────────────────────────────────────────────────────────

_Reader = Callable[[BodyFacts, Raw, str], None]


def _read_call(members: dict[str, Raw], readers: Mapping[str, _Reader], where: str) -> BodyFacts:
    """Each known member by its reader; a `null` reads like an absent member."""
    facts = BodyFacts(members=members)
    for name, raw in members.items():
        reader = readers.get(name)
        if reader is not None and (len(raw) != 4 or bytes(raw) != b"null"):
            reader(facts, raw, where + name)
    if facts.model is None:
        raise RequestError(400, "missing_model", f"`{where}model` must name a model.")
    facts.choices *= facts.prompts
    return facts


def _read_batch(members: dict[str, Raw]) -> BodyFacts:
    """A batch of messages counts by item; what is kept in a file elsewhere cannot be counted."""
    if "input_file_id" in members or "requests" not in members:
        raise RequestError(
            400,
            "batch_not_countable",
            "A batch must carry its requests in `requests`; batches by file are not served here.",
        )
    entries = entries_of(members["requests"], "requests", MAX_BATCH_REQUESTS)
    if not entries:
        raise wrong("requests", "a list of at least one request")
    # One item at a time: kept together, what they are made of weighs forty times the body.
    batch = BodyFacts(items=len(entries), members=members)
    models, end_users = set(), set()
    for index, raw in enumerate(entries):
        call = _read_item(raw, index)
        models.add(call.model)
        end_users.add(call.end_user)
        _add_item(batch, call)
        if index == len(entries) // 2:
            call.shape, batch.item = "batch", call
    if len(models) > 1:
        raise RequestError(
            400, "batch_mixed_models", "All requests of a batch must name the same model."
        )
    batch.model = models.pop()
    batch.end_user = end_users.pop() if len(end_users) == 1 else None
    return batch


def _add_item(batch: BodyFacts, call: BodyFacts) -> None:
    batch.message_count = _total(batch.message_count, call.message_count)
    batch.tool_count = _total(batch.tool_count, call.tool_count)
    batch.parts += call.parts + (call.message_count or 0) + (call.tool_count or 0)
    if batch.parts > MAX_BATCH_PARTS:
        raise wrong(
            "requests", f"a list with at most {MAX_BATCH_PARTS} members, messages and tools in all"
        )
    if call.max_output_tokens is not None:
        batch.max_output_tokens = max(batch.max_output_tokens or 0, call.max_output_tokens)


def _read_item(raw: Raw, index: int) -> BodyFacts:
    where = f"requests[{index}]."
    item = read_members(bytes(raw), _ITEM_FIELDS, where)
    where += "params."
    params = read_members(bytes(item.get("params", Raw(b"null"))), _MESSAGES, where)
    call = _read_call(params, _MESSAGES, where)
    call.parts += len(item) + len(params)
    return call


def _total(sum_so_far: int | None, count: int | None) -> int | None:
    """None where neither is known."""
    return sum_so_far if count is None else (sum_so_far or 0) + count


# ── one reader a field ───────────────────────────────────────────────────────────────────────


def _model(facts: BodyFacts, raw: Raw, name: str) -> None:
    model = text_of(raw, name, MAX_MODEL_CHARS)
    if not model.isprintable():
        raise wrong(name, "text without control characters")
    facts.model = model or None


def _stream(facts: BodyFacts, raw: Raw, name: str) -> None:
    facts.stream = flag_of(raw, name)


def _messages_list(facts: BodyFacts, raw: Raw, name: str) -> None:
    facts.turns = entries_of(raw, name)
    facts.message_count = len(facts.turns)


def _responses_input(facts: BodyFacts, raw: Raw, name: str) -> None:
    facts.turns = texts_of(raw, name)
    facts.message_count = len(facts.turns)


def _prompt(facts: BodyFacts, raw: Raw, name: str) -> None:
    """A list is several prompts, unless it is one prompt as token ids: those are not counted,
    for there may be as many as a model reads."""
    if _TOKEN_IDS.match(raw) is None:
        facts.prompts = len(texts_of(raw, name)) or 1


def _embedding_input(facts: BodyFacts, raw: Raw, name: str) -> None:
    if bytes(memoryview(raw)[:1]) not in (b'"', b"["):
        raise wrong(name, "text or a list")


def _tools(facts: BodyFacts, raw: Raw, name: str) -> None:
    facts.tool_count = len(entries_of(raw, name))


def _maximum(facts: BodyFacts, raw: Raw, name: str) -> None:
    facts.max_output_tokens = max(facts.max_output_tokens or 0, whole_of(raw, name))


def _choices(facts: BodyFacts, raw: Raw, name: str) -> None:
    choices = whole_of(raw, name)
    if not 1 <= choices <= MAX_CHOICES:
        raise wrong(name, f"a whole number from 1 to {MAX_CHOICES}")
    facts.choices = max(facts.choices, choices)


def _temperature(facts: BodyFacts, raw: Raw, name: str) -> None:
    facts.temperature = number_of(raw, name)


def _safety_identifier(facts: BodyFacts, raw: Raw, name: str) -> None:
    facts.end_user = text_of(raw, name, MAX_END_USER_CHARS)


def _user(facts: BodyFacts, raw: Raw, name: str) -> None:
    user = text_of(raw, name, MAX_END_USER_CHARS)
    if facts.end_user is None:  # `safety_identifier` replaces `user`, in any order
        facts.end_user = user


def _metadata(facts: BodyFacts, raw: Raw, name: str) -> None:
    members = read_members(bytes(raw), _METADATA_FIELDS, name + ".")
    facts.parts += len(members)
    user_id = members.get("user_id")
    if user_id is not None and not is_null(user_id):
        facts.end_user = text_of(user_id, name + ".user_id", MAX_END_USER_CHARS)


def _stream_options(facts: BodyFacts, raw: Raw, name: str) -> None:
    facts.has_stream_options = True
    asked = read_members(bytes(raw), _OPTION_FIELDS, name + ".").get("include_usage")
    if asked is not None and not is_null(asked):
        facts.wants_usage = flag_of(asked, name + ".include_usage")


_COMMON: dict[str, _Reader] = {
    "model": _model,
    "stream": _stream,
    "temperature": _temperature,
}
_OPENAI = _COMMON | {
    "user": _user,
    "safety_identifier": _safety_identifier,
    "tools": _tools,
    "stream_options": _stream_options,
}
_MESSAGES: dict[str, _Reader] = _COMMON | {
    "messages": _messages_list,
    "max_tokens": _maximum,
    "metadata": _metadata,
    "tools": _tools,
}
_READERS: dict[str, dict[str, _Reader]] = {
    "chat": _OPENAI
    | {
        "messages": _messages_list,
        "max_tokens": _maximum,
        "max_completion_tokens": _maximum,
        "n": _choices,
    },
    "responses": _OPENAI | {"input": _responses_input, "max_output_tokens": _maximum},
    "completions": _OPENAI
    | {"prompt": _prompt, "max_tokens": _maximum, "n": _choices, "best_of": _choices},
    "embeddings": _OPENAI | {"input": _embedding_input},
    "messages": _MESSAGES,
    "count_tokens": _MESSAGES,
}
_BATCH_FIELDS = frozenset({"requests", "input_file_id"})
_ITEM_FIELDS = frozenset({"custom_id", "params"})
_OPTION_FIELDS = frozenset({"include_usage"})
_METADATA_FIELDS = frozenset({"user_id"})
