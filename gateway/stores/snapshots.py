"""A large state kept in the store: packed, in chunks, whole or as it was before.

Chunks are written beside the old ones and expire unless a script, which checks the lease, makes
them the snapshot and drops the old ones. So a reader sees one whole snapshot, and a holder that
lost its lease while writing changes nothing.
"""

from __future__ import annotations

import asyncio
import secrets
from hashlib import blake2b
from typing import Any

import msgspec
import zstandard

from ..errors import StoreError
from .lease import Lease
from .redis import RedisStore
from .redis_errors import mapped
from .scripts import COMMIT_SNAPSHOT

CHUNK_BYTES = 1 << 20
MAX_CHUNKS = 2_048  # 2 GiB packed
MAX_STATE_BYTES = 1 << 34
UNCOMMITTED_MS = 3_600_000


class _Head(msgspec.Struct, array_like=True):
    generation: str
    chunks: int
    digest: bytes


class Snapshots:
    """The one snapshot under `name`. Methods raise StoreError."""

    def __init__(self, store: RedisStore, name: str) -> None:
        self._client: Any = store._client
        self._head_key = store._keys.linker(name)

    async def save(self, state: bytes, lease: Lease) -> int:
        """Replace the snapshot; returns its packed size. Raises StoreError `conflict` when the
        lease is somebody else's."""
        packed = await asyncio.to_thread(zstandard.ZstdCompressor(level=1).compress, state)
        parts = [packed[i : i + CHUNK_BYTES] for i in range(0, len(packed), CHUNK_BYTES)]
        if len(parts) > MAX_CHUNKS:
            raise StoreError("refused", f"a snapshot of {len(packed)} bytes is too large")
        head = _Head(secrets.token_hex(8), len(parts), _digest(packed))
        with mapped():
            old = await self._head()
            for key, part in zip(self._keys(head), parts, strict=True):
                await self._client.set(key, part, px=UNCOMMITTED_MS)
            names = [lease.key, self._head_key, *self._keys(head), *self._keys(old)]
            is_done = await self._client.eval(
                COMMIT_SNAPSHOT.source,
                len(names),
                *names,
                *(lease.token, msgspec.msgpack.encode(head), len(parts)),
            )
        if not is_done:
            raise StoreError("conflict", "the lease has gone to another process")
        return len(packed)

    async def load(self) -> bytes | None:
        """The last one saved, None for none. Raises StoreError `refused` when it is damaged."""
        with mapped():
            head = await self._head()
            if head is None:
                return None
            parts = [await self._client.get(key) or b"" for key in self._keys(head)]
        packed = b"".join(parts)
        if _digest(packed) != head.digest:
            raise StoreError("refused", "the linker's snapshot is damaged")
        return await asyncio.to_thread(_unpack, packed)

    async def _head(self) -> _Head | None:
        packed = await self._client.get(self._head_key)
        try:
            return None if packed is None else msgspec.msgpack.decode(packed, type=_Head)
        except msgspec.MsgspecError as error:
            raise StoreError("refused", f"the linker's snapshot cannot be read: {error}") from None

    def _keys(self, head: _Head | None) -> list[str]:
        if head is None:
            return []
        return [f"{self._head_key}:{head.generation}:{n}" for n in range(head.chunks)]


def _digest(packed: bytes) -> bytes:
    return blake2b(packed, digest_size=16).digest()


def _unpack(packed: bytes) -> bytes:
    try:
        return zstandard.ZstdDecompressor().decompress(packed, MAX_STATE_BYTES)
    except zstandard.ZstdError as error:
        raise StoreError("refused", f"the linker's snapshot is damaged: {error}") from None
