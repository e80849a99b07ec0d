"""The one place where redis-py's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from ..errors import StoreError


@contextmanager
def mapped() -> Iterator[None]:
    """Around calls of redis-py. Raises StoreError for whatever they raise."""
    try:
        yield
    except TimeoutError as error:
        raise StoreError("timeout", str(error) or "no reply in time") from None
    except RedisError as error:
        name = type(error).__name__
        kind = "refused"
        if "Timeout" in name:
            kind = "timeout"
        elif "Connection" in name or "ClusterDown" in name:
            kind = "unreachable"
        raise StoreError(kind, f"{name}: {error}") from None
    except OSError as error:
        raise StoreError("unreachable", str(error)) from None
