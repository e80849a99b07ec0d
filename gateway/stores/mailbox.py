"""Questions and orders of people to whichever process leads the linker, and its answers.

Orders are kept until the leader's snapshot holds what they did; answers for `ANSWER_S`.
Bounds: about `MAX_LETTERS` letters of at most `MAX_LETTER_BYTES`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from ..errors import StoreError
from .redis import RedisStore
from .redis_errors import mapped
from .stream import MessageLog

MAX_LETTERS = 1_024
MAX_LETTER_BYTES = 1 << 20
ANSWER_S = 120
POLL_S = 0.03


class Letter(msgspec.Struct):
    """`at_us` is when it was written, the instant of the decision it may hold. After `until_us`
    nobody waits for the answer: a question is then void, an order is not."""

    id: str
    action: str
    by: str
    reason: str
    at_us: int
    until_us: int
    args: dict[str, Any]


_encode = msgspec.msgpack.Encoder().encode
_decode_letter = msgspec.msgpack.Decoder(Letter).decode


class Mailbox:
    """Both ends. Methods raise StoreError."""

    def __init__(self, store: RedisStore) -> None:
        self.letters = MessageLog(store, "commands", most=MAX_LETTERS)
        self._client: Any = store._client
        self._keys = store._keys

    async def send(self, letter: Letter) -> None:
        packed = _encode(letter)
        if len(packed) > MAX_LETTER_BYTES:
            raise StoreError("refused", f"over {MAX_LETTER_BYTES} bytes: send it in parts")
        await self.letters.append(packed)

    async def answer(self, letter: Letter, answer: dict[str, Any]) -> None:
        with mapped():
            await self._client.set(self._answer_key(letter.id), _encode(answer), ex=ANSWER_S)

    async def wait(self, letter: Letter, timeout_s: float) -> dict[str, Any] | None:
        """None when nobody has answered in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    with mapped():
                        packed = await self._client.get(self._answer_key(letter.id))
                    if packed is not None:
                        answer: dict[str, Any] = msgspec.msgpack.decode(packed)
                        return answer
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return None

    def _answer_key(self, letter_id: str) -> str:
        return self._keys.linker(f"answer:{letter_id}")


def read_letter(packed: bytes) -> Letter | None:
    """None for what is no letter of this version."""
    try:
        return _decode_letter(packed)
    except msgspec.MsgspecError:
        return None


class LinkerStatus(msgspec.Struct):
    """What the leader says of itself once a round, for the metrics of every gateway."""

    at_us: int
    leader: str
    epoch: int
    position: str  # of the last evidence read
    is_frozen: bool
    clusters: dict[str, int]
    accounts: dict[str, int]
    pairs: int  # read since the state began, by whichever leader
    repeats: int  # messages that came twice and counted once
    lost: int  # messages that were trimmed before anybody read them
    unpublished: int  # accounts whose subject is behind


class StatusBoard:
    """Where the leader's status hangs. Methods raise StoreError."""

    def __init__(self, store: RedisStore) -> None:
        self._client: Any = store._client
        self._key = store._keys.linker("status")

    async def write(self, status: LinkerStatus) -> None:
        with mapped():
            await self._client.set(self._key, _encode(status))

    async def read(self) -> LinkerStatus | None:
        """None when no linker has ever led here, or one of another version does."""
        with mapped():
            packed = await self._client.get(self._key)
        try:
            return None if packed is None else msgspec.msgpack.decode(packed, type=LinkerStatus)
        except msgspec.MsgspecError:
            return None
