"""The state store: reachable, ours, not evicting, keeping what people decided, on a sane clock."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from ..app import read_secret, secret_path
from ..core.keyed import KeyedHash
from ..errors import EvictingStoreError, StoreError, StoreMismatchError, UsageError
from ..settings import Settings
from ..stores.embedded import socket_path
from ..stores.opening import connect_store
from ..stores.redis import RedisStore
from .finding import Finding, bad, ok, warning

TOPIC = "store"
CONNECT_TIMEOUT_S = 5.0
PROBES = 20
MAX_CLOCK_OFFSET_S = 2.0
RIGHTS = "… ~hg:* +@read +@write +@connection +@scripting +info +time +cluster|slots"
FULL_SHARE = 0.8  # of maxmemory


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    url = _url(settings)
    if url is None:
        yield ok(TOPIC, "embedded, and no gateway runs on it now; it will be started with one")
        return
    try:
        store = await connect_store(url, timeout_s=CONNECT_TIMEOUT_S)
    except (StoreError, UsageError) as error:
        yield bad(TOPIC, str(error), _fix(error))
        return
    try:
        async for finding in _look_at(store, settings):
            yield finding
    except StoreError as error:
        yield bad(TOPIC, str(error), _fix(error))
    finally:
        await store.aclose()


def _fix(error: StoreError | UsageError) -> str:
    if isinstance(error, StoreError) and "permission" in error.detail.lower():
        return f"ACL SETUSER {RIGHTS} (docs/operations.md, The store)"
    if isinstance(error, StoreError) and "MISCONF" in error.detail:
        return "make room on the store's disk, or give it back the right to write there"
    return "check host, port, login and TLS of the store's URL"


def _url(settings: Settings) -> str | None:
    """None where an embedded store is not running."""
    if settings.store != "embedded":
        return settings.store
    socket = socket_path(settings.data_dir / "store")
    return f"unix://{socket}" if socket.exists() else None


async def _look_at(store: RedisStore, settings: Settings) -> AsyncIterator[Finding]:
    yield await _owner(store, settings)
    for server in await store.infos("server"):
        yield ok(TOPIC, f"version {server.get('valkey_version', server.get('redis_version'))}")
    for memory in await store.infos("memory"):
        yield _memory(memory)
    for persistence in await store.infos("persistence"):
        for finding in _persistence(persistence):
            yield finding
    for finding in _replication(await store.infos("replication")):
        yield finding
    yield await _clock(store)
    yield await _speed(store, settings.store_timeout_s)


async def _owner(store: RedisStore, settings: Settings) -> Finding:
    path, _ = secret_path(settings)
    try:
        keyed = KeyedHash(read_secret(path, may_create=False))
    except UsageError:
        return warning(TOPIC, "whose it is cannot be told without the secret", "see secret above")
    try:
        is_ours = await store.check(keyed.fingerprint(), may_claim=False)
    except EvictingStoreError as error:
        return bad(TOPIC, str(error), "CONFIG SET it, and in the file that the store starts with")
    except StoreMismatchError as error:
        return bad(TOPIC, str(error), "name the right secret_file or another store")
    return ok(TOPIC, "was filled under this secret" if is_ours else "is empty and can be used")


def _memory(memory: Mapping[str, Any]) -> Finding:
    used, most = int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0))
    if most and used > FULL_SHARE * most:
        return warning(
            TOPIC,
            f"{used / most:.0%} of maxmemory is used; a full store refuses writes",
            "give it more memory, or import fewer accounts (about 1 KB each while active)",
        )
    bound = f" of {most / 2**20:,.0f}" if most else ", no maxmemory"
    evicts = most and memory.get("maxmemory_policy", "noeviction") != "noeviction"  # told above
    kept = "" if evicts else ", nothing is evicted"
    return ok(TOPIC, f"{used / 2**20:,.0f} MiB used{bound}{kept}")


def _persistence(persistence: Mapping[str, Any]) -> Iterator[Finding]:
    if not int(persistence.get("aof_enabled", 0)):
        yield warning(
            TOPIC,
            "has no append-only file: a crash loses bans and grants since the last snapshot",
            "set appendonly yes and appendfsync everysec; export clusters and accounts besides",
        )
    elif persistence.get("aof_last_write_status", "ok") != "ok":
        yield bad(TOPIC, "cannot write its append-only file", "make room on the store's disk")
    else:
        yield ok(TOPIC, "keeps an append-only file")
    if persistence.get("rdb_last_bgsave_status", "ok") != "ok":
        yield warning(TOPIC, "its last snapshot failed", "look into the store's log")


def _replication(servers: list[Mapping[str, Any]]) -> Iterator[Finding]:
    for server in servers:
        if server.get("role", "master") != "master":
            yield bad(
                TOPIC, "is a replica, which takes no writes", "name the primary, or use Sentinel"
            )
        elif len(servers) > 1 and not int(server.get("connected_slaves", 0)):
            yield warning(
                TOPIC,
                "a primary of the Cluster has no replica: if it dies, its accounts fail",
                "add one to each primary",
            )


async def _clock(store: RedisStore) -> Finding:
    before_us = time.time_ns() // 1000
    theirs_us = await store.server_time_us()
    offset_s = (theirs_us - (before_us + time.time_ns() // 1000) / 2) / 1e6
    if abs(offset_s) > MAX_CLOCK_OFFSET_S:
        return warning(
            TOPIC,
            f"its clock is {offset_s:+.1f} s off this machine's; ages and expiries are as far off",
            "run an NTP client on both",
        )
    return ok(TOPIC, f"its clock agrees with this machine's to {abs(offset_s):.2f} s")


async def _speed(store: RedisStore, timeout_s: float) -> Finding:
    took_s = []
    for _ in range(PROBES):
        started_s = time.perf_counter()
        await store.server_time_us()
        took_s.append(time.perf_counter() - started_s)
    middle_s, worst_s = sorted(took_s)[PROBES // 2], max(took_s)
    said = f"answers in {middle_s * 1e3:.1f} ms, at most {worst_s * 1e3:.1f} ms ({PROBES} calls)"
    if middle_s > timeout_s / 3:
        return warning(
            TOPIC,
            f"{said}, and store_timeout_s is {timeout_s * 1e3:.0f} ms",
            "move the store nearer, or raise store_timeout_s: late is decided as lost",
        )
    return ok(TOPIC, said)
