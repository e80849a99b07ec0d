"""What happens to an answer on its way to the caller: headers added, true usage read.

Not one chunk is held back; see `usage.py` for the one exception (a usage event that the caller
did not ask for is dropped).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter_ns
from typing import Any

from ..model import Decision, RequestFacts, Usage
from .answer_copy import AnswerCopy, CopyRoom
from .render import limit_headers, merge_limit_headers
from .usage import UsageReader

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class AnswerTap:
    """Wraps an ASGI `send`. `status` is None until the answer has begun."""

    __slots__ = (
        "_copy",
        "_decision",
        "_facts",
        "_hides_usage",
        "_reader",
        "_request_id",
        "_room",
        "_send",
        "_shape",
        "is_complete",
        "started_ns",
        "status",
    )

    def __init__(
        self,
        send: Send,
        facts: RequestFacts,
        decision: Decision,
        *,
        shape: str | None,
        hides_usage: bool,
        request_id: bytes,
        room: CopyRoom | None = None,
    ) -> None:
        """`room`: where a copy of a successful answer is wanted."""
        self._copy: AnswerCopy | None = None
        self._room = room
        self._send = send
        self._facts = facts
        self._decision = decision
        self._shape = shape
        self._hides_usage = hides_usage
        self._request_id = request_id
        self._reader: UsageReader | None = None
        self.status: int | None = None
        self.started_ns = 0
        self.is_complete = False

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            await self._send_body(message)
        elif kind == "http.response.start":
            self.started_ns = perf_counter_ns()
            self.status = message["status"]
            await self._send({**message, "headers": self._headers(message.get("headers", ()))})
        else:
            await self._send(message)

    def usage(self) -> Usage | None:
        """What the answer says was used, or what the caller got of a broken one; None where
        nothing was used because no answer came or it was an error."""
        if self.status is None or self.status >= 400:
            return None
        if self._reader is None:
            return Usage()
        return self._reader.usage(estimated_input_tokens=self._facts.estimated_input_tokens)

    def take_copy(self) -> tuple[bytes, bool]:
        """(the answer, whether it is a stream), once; b"" where none was kept."""
        copy, self._copy = self._copy, None
        return (b"", False) if copy is None else (copy.take(), copy.is_stream)

    async def _send_body(self, message: Message) -> None:
        body: bytes = message.get("body", b"")
        has_more: bool = message.get("more_body", False)
        reader = self._reader
        if reader is not None:
            if body:
                body = reader.feed(body)
            if not has_more:
                body += reader.finish()
            elif not body:
                return
            if self._copy is not None:
                self._copy.add(body)
        self.is_complete = not has_more
        await self._send({"type": "http.response.body", "body": body, "more_body": has_more})

    def _headers(self, headers: Any) -> list[tuple[bytes, bytes]]:
        kept = list(headers)
        found: dict[bytes, bytes] = dict(kept)
        if self._shape is not None and self.status is not None and self.status < 400:
            self._reader = UsageReader(
                self._shape,
                content_type=found.get(b"content-type", b""),
                content_encoding=found.get(b"content-encoding", b""),
                hides_usage=self._hides_usage,
            )
            if self._room is not None and b"content-encoding" not in found:
                content_type = found.get(b"content-type", b"")[:17].lower()
                is_stream = content_type == b"text/event-stream"
                self._copy = AnswerCopy(self._room, is_stream=is_stream)
        if self._hides_usage:
            kept = [pair for pair in kept if pair[0] != b"content-length"]
        if b"x-request-id" not in found:
            kept.append((b"x-request-id", self._request_id))
        return merge_limit_headers(kept, limit_headers(self._decision, self._facts.dialect))
