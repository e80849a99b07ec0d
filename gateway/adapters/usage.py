"""True usage, read from an answer while it passes through.

Nothing is held back, but with `hides_usage` an incomplete event of a stream. What cannot be
read costs accuracy only: the estimate that was reserved then stands.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from ..model import RequestFacts, Usage
from .content import GZIP_WBITS, ZLIB_WBITS
from .sse import ANTHROPIC_STREAM, OPENAI_STREAM, RESPONSES_STREAM, StreamDialect, StreamUsage
from .tokens import Told, told_by_anthropic, told_by_openai

MAX_JSON_BYTES = 1 << 20  # larger answers are kept to their tail, where usage is, or is lost
JSON_TAIL_BYTES = 1 << 16
MAX_INFLATED_BYTES = 1 << 20  # of one chunk; more is taken for a bomb and no longer read

STREAMS: dict[str, StreamDialect] = {
    "chat": OPENAI_STREAM,
    "completions": OPENAI_STREAM,
    "responses": RESPONSES_STREAM,
    "messages": ANTHROPIC_STREAM,
}
_WBITS = {b"gzip": GZIP_WBITS, b"x-gzip": GZIP_WBITS, b"deflate": ZLIB_WBITS}
_USAGE_MEMBER = re.compile(rb'"usage"[ \t\n\r]*:[ \t\n\r]*(?=\{)')
_prefix_decoder = json.JSONDecoder()
NOT_TOLD = Told()


class _Source(Protocol):
    told: Told

    def feed(self, chunk: bytes) -> bytes: ...
    def finish(self) -> bytes: ...


class UsageReader:
    """Reads one successful answer to a call of a body shape (`body.SHAPES`).

    `hides_usage`: usage was asked for in the caller's stead, so the event that tells nothing
    else is dropped. It cannot be where the answer is compressed against our wish.
    """

    __slots__ = ("_shape", "_source", "_stream", "feed", "finish")

    feed: Callable[[bytes], bytes]
    """Takes a chunk, returns what of it to forward now."""
    finish: Callable[[], bytes]
    """To be called at the end of a complete answer; returns what is left to forward."""

    def __init__(
        self, shape: str, *, content_type: bytes, content_encoding: bytes, hides_usage: bool
    ) -> None:
        coding = content_encoding.strip().lower() if content_encoding else b""
        is_plain = coding in (b"", b"identity")
        self._shape = shape
        self._stream: StreamUsage | None = None
        self._source: _Source = _UNREAD
        if content_type[:17].lower() == b"text/event-stream":
            if shape in STREAMS:
                self._stream = StreamUsage(STREAMS[shape], drops=hides_usage and is_plain)
                self._source = self._stream
        elif shape not in ("count_tokens", "batch"):
            self._source = _JsonUsage(told_by_anthropic if shape == "messages" else told_by_openai)
        passes: _Source = self._source
        if not is_plain:
            passes = _Inflated(passes, _WBITS[coding]) if coding in _WBITS else _UNREAD
        self.feed = passes.feed
        self.finish = passes.finish

    def usage(self, *, estimated_input_tokens: int) -> Usage:
        """What to charge for, also of an answer that broke off or was left early.

        A stream that never told its final usage is charged for the input (the estimate, unless
        told) and for what was forwarded. Usage() where nothing is known: the estimate stands.
        Counting tokens uses none.
        """
        if self._shape == "count_tokens":
            return Usage(input_tokens=0)
        told = self._source.told.usage()
        stream = self._stream
        if stream is None or stream.is_final:
            return told
        input_tokens = estimated_input_tokens if told.input_tokens is None else told.input_tokens
        output_tokens = max(told.output_tokens or 0, stream.partial_output_tokens())
        return Usage(input_tokens, told.cached_input_tokens, output_tokens)


def unanswered(facts: RequestFacts) -> Usage:
    """What is charged of a call that its caller left while the model API worked on it: what was
    sent, and of a call that does not stream the estimate of its answer too, as all of that is
    made before the head. Who leaves every call in time would else have them for nothing."""
    if facts.stream:
        return Usage(input_tokens=facts.estimated_input_tokens, output_tokens=0)
    return Usage()


class _Unread:
    """Passes through."""

    __slots__ = ()
    told = NOT_TOLD

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def finish(self) -> bytes:
        return b""


_UNREAD = _Unread()


class _JsonAnswer(Struct):
    usage: dict[str, Any] | None = None


_json_answer = msgspec.json.Decoder(_JsonAnswer)


class _JsonUsage:
    """Keeps a JSON answer, or the tail of one that is too large, and reads it at the end."""

    __slots__ = ("_is_cut", "_parts", "_read", "_size", "told")

    def __init__(self, read: Callable[[dict[str, Any]], Told]) -> None:
        self.told = NOT_TOLD
        self._read = read
        self._parts: list[bytes] = []
        self._size = 0
        self._is_cut = False

    def feed(self, chunk: bytes) -> bytes:
        self._parts.append(chunk)
        self._size += len(chunk)
        if self._size > MAX_JSON_BYTES:
            self._is_cut = True
            self._parts = [b"".join(self._parts)[-JSON_TAIL_BYTES:]]
            self._size = len(self._parts[0])
        return chunk

    def finish(self) -> bytes:
        raw = b"".join(self._parts)
        self._parts = []
        usage = _last_usage(raw[-JSON_TAIL_BYTES:]) if self._is_cut else _whole_usage(raw)
        if usage is not None:
            self.told = self._read(usage)
        return b""


def _whole_usage(raw: bytes) -> dict[str, Any] | None:
    try:
        return _json_answer.decode(raw).usage
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _last_usage(tail: bytes) -> dict[str, Any] | None:
    """The last member of this name; inside text its quotes would be escaped."""
    ends = [found.end() for found in _USAGE_MEMBER.finditer(tail)]
    if not ends:
        return None
    try:
        usage, _ = _prefix_decoder.raw_decode(tail[ends[-1] :].decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return usage if isinstance(usage, dict) else None


class _Inflated:
    """Shows a reader the decoded copy of what is forwarded as it is."""

    __slots__ = ("_inflate", "_inner", "told")

    def __init__(self, inner: _Source, wbits: int) -> None:
        self.told = Told()
        self._inner = inner
        self._inflate: Any = zlib.decompressobj(wbits)

    def feed(self, chunk: bytes) -> bytes:
        if self._inflate is not None:
            try:
                self._inner.feed(self._inflate.decompress(chunk, MAX_INFLATED_BYTES))
                if self._inflate.unconsumed_tail:
                    self._inflate = None
            except zlib.error:
                self._inflate = None
        return chunk

    def finish(self) -> bytes:
        self._inner.finish()
        return b""
