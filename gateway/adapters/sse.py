"""Server-sent events on their way through: usage read, one event dropped, nothing else changed.

Laws, held by property tests: cutting the same bytes into other chunks gives the same output and
the same usage; no complete event is ever held back; bytes that are not dropped are unchanged.
Source: WHATWG HTML, §9.2 Server-sent events.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import starmap
from typing import Any

import msgspec
from msgspec import Raw, Struct

from .tokens import Told, told_by_anthropic, told_by_openai

MAX_EVENT_BYTES = 1 << 20  # a larger event is forwarded unread
SAMPLED_EVENTS = 4
BYTES_PER_TOKEN = 4

# A line ends in CRLF, LF or CR. A CR at the very end may still become a CRLF, so it waits.
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?=[^\n]))(?:\r\n|\n|\r(?=[^\n]))")
_LONGEST_END_BYTES = 4
_USUAL_ENDS = (b"\n\n", b"\n\r\n")
_TEXT_MEMBERS = frozenset(
    {
        "content",
        "text",
        "thinking",
        "reasoning",
        "reasoning_content",
        "refusal",
        "arguments",
        "partial_json",
        "delta",
    }
)


class _Holder(Struct):
    usage: dict[str, Any] | None = None


class _Event(Struct):
    """Where any of the dialects keeps usage."""

    usage: dict[str, Any] | None = None
    message: _Holder | None = None  # Anthropic message_start
    response: _Holder | None = None  # OpenAI response.completed, .incomplete, .failed
    choices: list[Raw] | None = None

    def told(self) -> dict[str, Any] | None:
        if self.usage is not None:
            return self.usage
        holder = self.message or self.response
        return holder.usage if holder is not None else None


_event = msgspec.json.Decoder(_Event)


@dataclass(frozen=True, slots=True)
class StreamDialect:
    """`marker` is in every event that tells usage; inside text its quotes would be escaped.
    `repeats` marks events that repeat text which has been streamed already."""

    marker: bytes
    read: Callable[[dict[str, Any]], Told]
    repeats: bytes | None = None


OPENAI_STREAM = StreamDialect(b'"prompt_tokens"', told_by_openai)
RESPONSES_STREAM = StreamDialect(b'"output_tokens"', told_by_openai, repeats=b'.done"')
ANTHROPIC_STREAM = StreamDialect(b'"output_tokens"', told_by_anthropic)


class StreamUsage:
    """Reads the usage of one stream. With `drops`, the event that tells nothing but usage goes.

    Holds at most one incomplete event: a copy of it, or with `drops` the event itself.
    """

    __slots__ = (
        "_bytes",
        "_dialect",
        "_drops",
        "_events",
        "_held",
        "_is_oversized",
        "_samples",
        "_text_bytes",
        "_wrapping_bytes",
        "is_final",
        "told",
    )

    def __init__(self, dialect: StreamDialect, *, drops: bool) -> None:
        self.told = Told()
        self.is_final = False
        self._dialect = dialect
        self._drops = drops
        self._held = b""
        self._is_oversized = False
        self._events = 0
        self._bytes = 0
        self._samples = 0
        self._text_bytes = 0
        self._wrapping_bytes = 0

    def feed(self, chunk: bytes) -> bytes:
        """What to forward now."""
        dialect = self._dialect
        if (
            not self._held
            and self._samples == SAMPLED_EVENTS
            and not self._is_oversized
            and dialect.marker not in chunk
            and chunk.endswith(_USUAL_ENDS)
            and (dialect.repeats is None or dialect.repeats not in chunk)
        ):
            self._count(chunk)
            return chunk
        return self._feed_events(chunk)

    def finish(self) -> bytes:
        """What is left to forward at the end: an event that was never completed."""
        rest, self._held = self._held, b""
        if rest and not self._is_oversized and not self._keeps(rest):
            return b""
        return rest if self._drops else b""

    def partial_output_tokens(self) -> int:
        """An estimate of what was streamed: a token per event, or per four bytes of text.

        Text is what exceeds the wrapping of the first events that carried any.
        """
        wrapping = self._wrapping_bytes / self._samples if self._samples else 0.0
        text_bytes = self._bytes - self._events * wrapping if self._samples else 0.0
        return max(self._events, int(text_bytes) // BYTES_PER_TOKEN)

    def resume(
        self, usages: Iterable[dict[str, Any]], *, is_final: bool, events: int, size_bytes: int
    ) -> None:
        """Take over from whoever read the rest: what it was told of usage, and how much of the
        stream has passed since."""
        for usage in usages:
            self.told = self.told.updated(self._dialect.read(usage))
        self.is_final = is_final
        self._events = max(self._events, events)
        self._bytes = max(self._bytes, size_bytes)

    def _feed_events(self, chunk: bytes) -> bytes:
        buffer = self._held + chunk
        kept: list[bytes] = []
        start = 0
        for end in _EVENT_END.finditer(buffer, max(0, len(self._held) - _LONGEST_END_BYTES + 1)):
            event = buffer[start : end.end()]
            start = end.end()
            is_unread = self._is_oversized or len(event) > MAX_EVENT_BYTES
            self._is_oversized = False
            if is_unread or self._keeps(event):
                kept.append(event)
        rest = buffer[start:]
        if self._is_oversized or len(rest) > MAX_EVENT_BYTES:
            self._is_oversized = True
            kept.append(rest[: 1 - _LONGEST_END_BYTES])
            rest = rest[1 - _LONGEST_END_BYTES :]
        self._held = rest
        return b"".join(kept) if self._drops else chunk

    def _keeps(self, event: bytes) -> bool:
        """Take an event into account; False when it is to be dropped."""
        dialect = self._dialect
        if dialect.marker in event and self._reads_usage(event) and self._drops:
            return False
        if dialect.repeats is None or dialect.repeats not in event:
            if self._samples < SAMPLED_EVENTS:
                self._sample(event)
            self._count(event)
        return True

    def _reads_usage(self, event: bytes) -> bool:
        """True when the event tells nothing but usage."""
        try:
            read = _event.decode(data_of(event))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        usage = read.told()
        if usage is None:
            return False
        self.told = self.told.updated(self._dialect.read(usage))
        self.is_final = read.message is None
        return read.choices is not None and not read.choices

    def _count(self, events: bytes) -> None:
        self._bytes += len(events)
        self._events += events.count(b"\ndata:") + events.startswith(b"data:")

    def _sample(self, event: bytes) -> None:
        try:
            text_bytes = _text_bytes(msgspec.json.decode(data_of(event)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        if text_bytes:
            self._samples += 1
            self._wrapping_bytes += len(event) - text_bytes


def data_of(event: bytes) -> bytes:
    """The event's data lines, joined; comments and other fields left out."""
    return b"\n".join(
        [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    )


def _text_bytes(value: Any) -> int:
    """Bytes of generated text anywhere in an event. Depth is bounded by the JSON decoder."""
    if isinstance(value, list):
        return sum(map(_text_bytes, value))
    if isinstance(value, dict):
        return sum(starmap(_member_text_bytes, value.items()))
    return 0


def _member_text_bytes(name: str, value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode()) if name in _TEXT_MEMBERS else 0
    return _text_bytes(value)
