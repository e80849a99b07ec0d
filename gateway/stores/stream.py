"""Messages on their way to the linker: a Redis stream in one Cluster slot, read by position.

Bounds: a stream keeps about `most` messages (the oldest go first), a message is at most
`MAX_MESSAGE_BYTES`; what a snapshot holds is trimmed. Evidence therefore takes at most
32,768 x 4 KiB = 128 MiB while no linker runs, and next to nothing while one does.

Law: offering evidence never blocks and never raises. Law: it arrives at least once and counts
once: each message carries its sender and a running number, by which the reader drops repeats
and notices what is missing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from typing import Any

import msgspec

from ..errors import StoreError
from ..linking.evidence import Key
from ..linking.linker import Evidence
from .redis import RedisStore
from .redis_errors import mapped
from .scripts import STREAM_LAG

log = logging.getLogger("hydragate.linking")

START = "0-0"  # the position before every message
MAX_MESSAGE_BYTES = 4_096
MAX_WAITING = 16_384  # exchanges' evidence in a worker while the store does not answer
EVIDENCE_MESSAGES = 32_768
FLUSH_S = 0.25
RETRY_S = 1.0
MAX_RETRY_S = 10.0
VALUE_BYTES = 8
WAS = "was:"  # before a family: its values under the linking key before, in the same order


class MessageLog:
    """One stream: appended to by many, read by position. Every method raises StoreError."""

    def __init__(self, store: RedisStore, name: str, *, most: int) -> None:
        """`most` is approximate: the server trims whole nodes of its stream, of some hundred."""
        self._client: Any = store._client
        self._key = store._keys.linker(name)
        self._most = most

    async def append(self, message: bytes) -> str:
        """The new message's position."""
        with mapped():
            position: bytes = await self._client.xadd(
                self._key, {"m": message}, maxlen=self._most, approximate=True
            )
        return position.decode()

    async def read_after(self, position: str, *, most: int) -> list[tuple[str, bytes]]:
        """(position, message) in order; [] when there is nothing new."""
        with mapped():
            entries = await self._client.xrange(self._key, min=f"({position}", count=most)
        return [(at.decode(), fields.get(b"m", b"")) for at, fields in entries]

    async def forget_up_to(self, position: str) -> None:
        """Messages before `position` will not be asked for again; about all of them go."""
        with mapped():
            await self._client.xtrim(self._key, minid=position, approximate=False)

    async def lag_s(self, position: str) -> float:
        """The age of the oldest message behind `position`, on the store's clock; 0.0 for none."""
        with mapped():
            waited_ms = await self._client.eval(STREAM_LAG.source, 1, self._key, position)
        return int(waited_ms) / 1000


class Message(msgspec.Struct, array_like=True):
    """What one worker sends at once. `number` grows by one with every message of a `sender`."""

    sender: str
    number: int
    records: list[tuple[str, int, bool, int | None, dict[str, bytes]]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


def read_message(packed: bytes) -> Message | None:
    """None for what is no message of this version."""
    try:
        return _decode(packed)
    except msgspec.MsgspecError:
        return None


def evidence_of(message: Message) -> list[Evidence]:
    return [
        Evidence(account_id, at_us, _keys(values), is_exempt, created_us)
        for account_id, at_us, is_exempt, created_us, values in message.records
    ]


def _keys(values: dict[str, bytes]) -> tuple[Key, ...]:
    return tuple(
        [
            Key(family, joined[start : start + VALUE_BYTES].hex(), was[start:][:VALUE_BYTES].hex())
            for family, joined in values.items()
            if not family.startswith(WAS)
            for was in [values.get(WAS + family, b"")]
            for start in range(0, len(joined), VALUE_BYTES)
        ]
    )


def _record(evidence: Evidence) -> tuple[str, int, bool, int | None, dict[str, bytes]]:
    values: dict[str, bytes] = {}
    for key in evidence.keys:
        values[key.family] = values.get(key.family, b"") + bytes.fromhex(key.value)
        if key.was:  # then every key of its family has one
            values[WAS + key.family] = values.get(WAS + key.family, b"") + bytes.fromhex(key.was)
    one = evidence
    return one.account_id, one.at_us, one.is_exempt, one.created_us, values


class EvidenceSender:
    """A worker's end. What is offered within `FLUSH_S` travels together, and is kept while the
    store does not answer, up to `MAX_WAITING`; then the oldest is dropped and counted."""

    def __init__(self, messages: MessageLog) -> None:
        self.pairs = 0  # offered
        self.dropped = 0  # records that never left
        self.sent = 0  # messages
        self._messages = messages
        self._sender = secrets.token_hex(8)
        self._number = 0
        self._waiting: deque[Evidence] = deque()
        self._unsent: bytes | None = None  # keeps its number until it has arrived
        self._unsent_records = 0
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None

    def offer(self, evidence: Evidence) -> None:
        """Within a running event loop. Never blocks, never raises."""
        self.pairs += len(evidence.keys)
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(evidence)
        if self._timer is None and self._flushing is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._begin)

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Send what waits; what cannot be sent in time is dropped and counted."""
        if self._timer is not None:
            self._timer.cancel()
            self._begin()
        flushing = self._flushing
        if flushing is not None:
            await asyncio.wait([flushing], timeout=timeout_s)
            self._is_closed = True
            flushing.cancel()
        self.dropped += len(self._waiting) + self._unsent_records
        self._waiting.clear()

    def _begin(self) -> None:
        self._timer = None
        self._flushing = asyncio.get_running_loop().create_task(self._flush())
        self._flushing.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._flushing = None
        if not task.cancelled() and task.exception() is not None:
            log.error("evidence could not be sent", exc_info=task.exception())
        if self._waiting and not task.cancelled():
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._begin)

    async def _flush(self) -> None:
        pause_s = RETRY_S
        while (self._waiting or self._unsent is not None) and not self._is_closed:
            if self._unsent is None:
                self._unsent = self._next_message()
            try:
                await self._messages.append(self._unsent)
            except StoreError as error:
                log.warning("evidence waits: %s", error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, MAX_RETRY_S)
                continue
            pause_s = RETRY_S
            self.sent += 1
            self._unsent, self._unsent_records = None, 0

    def _next_message(self) -> bytes:
        """As much of what waits as fits into one message, at least one record."""
        self._number += 1
        message = Message(self._sender, self._number, [])
        room = MAX_MESSAGE_BYTES - 40
        while self._waiting:
            record = _record(self._waiting[0])
            room -= len(_encode(record))
            if room < 0 and message.records:
                break
            message.records.append(record)
            self._waiting.popleft()
        self._unsent_records = len(message.records)
        return _encode(message)
