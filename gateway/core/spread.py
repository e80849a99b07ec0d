"""Sticky spreading by hash: the same key always lands in the same place."""

from __future__ import annotations

from zlib import crc32


def shard_of(key: str, shards: int) -> int:
    """0..shards-1; always 0 for one shard."""
    return 0 if shards == 1 else crc32(key.encode()) % shards
