"""A copy of an answer for whoever looks at it once it is over; bounded in all.

Keeping a chunk costs a reference and two additions; nothing is read while the answer passes.
"""

from __future__ import annotations

from ..linking.answers import MAX_ANSWER_BYTES

MAX_HELD_BYTES = 64 << 20  # of all answers under way in one worker


class CopyRoom:
    """What the copies of one worker hold together."""

    __slots__ = ("held_bytes",)

    def __init__(self) -> None:
        self.held_bytes = 0


class AnswerCopy:
    """One answer's chunks. What grows too large, or finds no room, is given up."""

    __slots__ = ("_parts", "_room", "_size", "is_stream")

    def __init__(self, room: CopyRoom, *, is_stream: bool) -> None:
        self.is_stream = is_stream
        self._room = room
        self._parts: list[bytes] | None = []
        self._size = 0

    def add(self, chunk: bytes) -> None:
        parts = self._parts
        if parts is None:
            return
        parts.append(chunk)
        self._size += len(chunk)
        self._room.held_bytes += len(chunk)
        if self._size > MAX_ANSWER_BYTES or self._room.held_bytes > MAX_HELD_BYTES:
            self.take()

    def take(self) -> bytes:
        """Once; b"" where it was given up."""
        parts, self._parts = self._parts, None
        self._room.held_bytes -= self._size
        self._size = 0
        return b"".join(parts) if parts is not None else b""
