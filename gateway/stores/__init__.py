"""State stores: Redis and Valkey by URL, an embedded Valkey, and memory for replay and tests."""

from __future__ import annotations

from .opening import open_store
from .redis import RedisStore

__all__ = ["RedisStore", "open_store"]
