"""One conversation: turns that carry the history they were given, as the callers of these APIs do.

Bounded: a conversation ends when its turns are over, when its history is too long or when it has
been left alone; `OpenConversations` keeps no more of them than its capacity.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from .apps import App, Frame
from .clients import Client
from .dialects import (
    answer_body,
    answer_id,
    call_id,
    error_body,
    item_id,
    shape_of,
    signature,
)
from .phrases import ascii_json, code, inside_json, phrases, plain
from .tasks import answer_text

MAX_HISTORY_BYTES = 12_000
PASSAGE_CHARS = 400
IDLE_S = 3 * 3600.0
MAX_OPEN = 60_000  # owners
MAX_OPEN_EACH = 6

BeforeAnswer = tuple[bytes, list[bytes], bytes, bytes]
"""What an answer changes of a conversation: history, open tool calls, chained id, last words."""

Source = Literal["customers", "tasks", "own-users", "strangers", "probes"]
"""Whose a conversation is: a customer's, or one of those that go through a pool."""


@dataclass(slots=True)
class Answer:
    """What came back. `body` is the model API's JSON, or null."""

    body: bytes
    input_tokens: int
    cached_tokens: int
    output_tokens: int


class Conversation:
    """`owner` is the account of its last turn; `client`, `key` and `address` likewise.

    `launders`: nothing that the model API issued comes back, as a relay that rewrites ids does.
    """

    __slots__ = (
        "address",
        "app",
        "calls",
        "client",
        "frame",
        "history",
        "key",
        "last_s",
        "last_said",
        "launders",
        "model",
        "owner",
        "previous",
        "ready_s",
        "shape",
        "source",
        "tenant",
        "text",
        "turns_left",
        "user",
    )

    def __init__(
        self,
        app: App,
        client: Client,
        rng: Random,
        *,
        owner: int,
        model: str,
        user: bytes | None,
        system: bytes | None = None,
    ) -> None:
        self.app = app
        self.client = client
        self.owner = owner
        self.model = model
        self.user = user
        self.key = ""
        self.address = ""
        self.shape = shape_of(app.dialect, client.is_spaced)
        self.frame: Frame = app.frame(
            model, is_spaced=client.is_spaced, is_ascii=client.is_ascii, system=system
        )
        self.turns_left = _turns(rng, app.turns)
        self.history = b""
        self.calls: list[bytes] = []  # tool calls that wait for their results
        self.previous = b""
        self.text = b""
        self.last_s = 0.0
        self.ready_s = 0.0  # when the answer is there: nobody continues before
        self.last_said = b""
        self.launders = False
        self.source: Source = "customers"
        self.tenant: bytes | None = None

    @property
    def is_over(self) -> bool:
        return self.turns_left <= 0 or len(self.history) > MAX_HISTORY_BYTES

    def ask(self, rng: Random, text_bytes: int) -> bytes:
        """The body of the next request; a first prompt shorter than `text_bytes` gets a text to
        work on."""
        shape, app = self.shape, self.app
        if self.calls:
            turn = self._results(rng)
        else:
            is_first = not (self.history or self.previous)
            text = app.author.opening(rng) if is_first else app.author.following(rng)
            missing = (text_bytes if is_first else text_bytes // 4) - len(text)
            if missing > app.author.grammar.sentence_bytes and app.author.pads:
                count = missing // app.author.grammar.sentence_bytes
                text += b"\\n" + app.author.grammar.sentences(rng, count)
            if self.text:
                text, self.text = self.text + b" " + text, b""
            turn = shape.user % (ascii_json(text) if self.client.is_ascii else text)
        self.history = self.history + shape.comma + turn if self.history else turn
        parts = [self.frame.before, self.history, self.frame.after]
        if self.previous:
            parts.append(shape.chained % self.previous)
        if self.user is not None:
            field = shape.safety_field if app.names_safety_id else shape.user_field
            parts.append(field % self.user)
        parts.append(b"}")
        self.turns_left -= 1
        return b"".join(parts)

    def _results(self, rng: Random) -> bytes:
        shape, kind = self.shape, self.app.kind.name
        texts = [_tool_output(kind, rng) for _ in self.calls]
        results = [
            shape.result % (call, text) for call, text in zip(self.calls, texts, strict=True)
        ]
        self.calls = []
        return shape.result_turn % shape.comma.join(results)

    def answer(self, rng: Random, body_bytes: int, *, text_bytes: int) -> Answer:
        """The model answers; what it hands out becomes part of the history."""
        app = self.app
        input_tokens = 1 + int(body_bytes / 4.2)
        cached = input_tokens // 2 if self.previous or len(self.history) > 4_000 else 0
        if app.dialect == "embeddings":
            return Answer(b"null", input_tokens, 0, 0)
        ids = answer_id(rng, app.dialect)
        calls_tools = bool(app.tools) and self.turns_left > 0 and rng.random() < 0.7
        if calls_tools:
            content, said = self._call_tools(rng)
        else:
            content, said = self._say(rng, text_bytes)
        output_tokens = 1 + len(content) * 10 // 44
        if app.is_chained:
            self.previous, self.history = ids, b""
        else:
            self.history = self.history + self.shape.comma + said
        if not app.carries_history:
            self.history = b""
        model = self.model.encode()
        tokens = (input_tokens, cached, output_tokens)
        body = answer_body(
            app.dialect, content, answer=ids, model=model, calls_tools=calls_tools, tokens=tokens
        )
        if app.thinking:
            output_tokens += rng.randrange(100, 900)
        return Answer(body, input_tokens, cached, output_tokens)

    def before_answer(self) -> BeforeAnswer:
        """For `unanswer`."""
        return self.history, self.calls, self.previous, self.last_said

    def unanswer(self, before: BeforeAnswer, at_s: float) -> None:
        """The answer never came: a gateway refused the request, known at `at_s`."""
        self.history, self.calls, self.previous, self.last_said = before
        self.ready_s = at_s

    def passage(self, rng: Random) -> bytes:
        """Some sentences of the last answer, as a reader would copy them."""
        if not self.last_said:
            return self.app.author.grammar.sentences(rng, 3)
        return inside_json(plain(self.last_said)[:PASSAGE_CHARS])

    def fail(self, status: int) -> Answer:
        """The model API failed: the turn stays unanswered and may be sent again."""
        return Answer(error_body(self.app.dialect, status), 0, 0, 0)

    def _say(self, rng: Random, text_bytes: int) -> tuple[bytes, bytes]:
        app, shape, dialect = self.app, self.shape, self.app.dialect
        grammar = app.author.grammar
        text = answer_text(app.kind, grammar, rng, 1 + text_bytes // grammar.sentence_bytes)
        self.last_said = text
        sent = ascii_json(text) if self.client.is_ascii else text
        compact = shape_of(dialect, False)
        if app.thinking and dialect == "messages":
            thought = grammar.sentences(rng, 4)
            seal = signature(rng, len(thought))
            seen = ascii_json(thought) if self.client.is_ascii else thought
            said = shape.answer % sent if self.launders else shape.thoughtful % (seen, seal, sent)
            return _blocks(compact.thoughtful % (thought, seal, text)), said
        if dialect == "responses":
            message = item_id(rng, b"msg_")
            before = issued = b""
            if app.thinking:
                pair = (item_id(rng, b"rs_"), signature(rng, 400))
                before, issued = shape.thoughtful % pair, compact.thoughtful % pair
            returned = item_id(rng, b"msg_") if self.launders else message
            said = b"" if self.launders else before
            said += shape.answer % (returned, sent)
            return issued + compact.answer % (message, text), said
        said = shape.answer % sent
        if dialect == "messages":
            return _blocks(compact.answer % text), said
        return compact.answer % text, said

    def _call_tools(self, rng: Random) -> tuple[bytes, bytes]:
        app, shape, dialect = self.app, self.shape, self.app.dialect
        compact = shape_of(dialect, False)
        count = 2 if rng.random() < 0.2 else 1
        issued_ids = [call_id(rng, dialect) for _ in range(count)]
        # A relay that launders hands its own ids to its users, and gets those back.
        self.calls = [call_id(rng, dialect) for _ in issued_ids] if self.launders else issued_ids
        sent, issued = [], []
        for call, returned in zip(issued_ids, self.calls, strict=True):
            name = app.tools[int(rng.random() * len(app.tools))].encode()
            text = b'{\\"path\\":\\"src/%b.py\\"}' % str(rng.randrange(10_000_000)).encode()
            given = text.replace(b'\\"', b'"') if dialect == "messages" else text
            sent.append(shape.call % (returned, name, given))
            issued.append(compact.call % (call, name, given))
        said = shape.tool_turn % shape.comma.join(sent)
        content = compact.tool_turn % b",".join(issued)
        return (_blocks(content) if dialect == "messages" else content), said


def _blocks(message: bytes) -> bytes:
    """The blocks of an assistant message, as the answer's content holds them."""
    return message[message.index(b"[") + 1 : -2]


def _tool_output(kind: str, rng: Random) -> bytes:
    return code(rng, 4) if kind == "agent" else phrases("en").sentences(rng, 3)


def _turns(rng: Random, mean: float) -> int:
    """Geometric with that mean, at least 1."""
    if mean <= 1:
        return 1
    turns, more = 1, 1 - 1 / mean
    while turns < 40 and rng.random() < more:
        turns += 1
    return turns


class OpenConversations:
    """Conversations that may go on, a few for each owner; those of the owner that has been quiet
    longest make room."""

    def __init__(self, capacity: int = MAX_OPEN) -> None:
        self._open: dict[int, list[Conversation]] = {}
        self._capacity = capacity

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def take(self, owner: int, now_s: float) -> Conversation | None:
        """One of the owner's conversations whose last answer has come, the latest first; those
        left alone for too long are forgotten."""
        kept = self._open.pop(owner, None)
        if kept is None:
            return None
        kept = [conv for conv in kept if now_s - conv.last_s <= IDLE_S]
        found = next((conv for conv in reversed(kept) if conv.ready_s <= now_s), None)
        if found is not None:
            kept.remove(found)
        if kept:
            self._open[owner] = kept
        return found

    def put(self, owner: int, conversation: Conversation) -> None:
        if conversation.is_over:
            return
        kept = self._open.setdefault(owner, [])
        kept.append(conversation)
        if len(kept) > MAX_OPEN_EACH:
            del kept[0]
        if len(self._open) > self._capacity:
            del self._open[next(iter(self._open))]
