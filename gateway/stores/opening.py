"""From a URL to an open store.

`redis://[user:password@]host:port/db` and `valkey://` alike, `rediss://` and `valkeys://` with
TLS (`?ca_file=…&cert_file=…&key_file=…`), `unix:///path/to/socket?db=0`,
`redis+cluster://host:port` (and `rediss+cluster`, or `?cluster=1`),
`redis+sentinel://host:port,host:port/master-name/db`, where user and password are the primary's and
`?sentinel_user=…&sentinel_password=…` the Sentinels' own. `rediss+sentinel` is TLS to both;
`?sentinel_tls=0` leaves it out for the Sentinels.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import redis.asyncio as redis_client
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ConstantBackoff

from ..errors import StoreError, UsageError
from .keys import Keys
from .redis import RedisStore
from .redis_errors import mapped
from .routing import ClusterRouter, SingleRouter
from .scripts import ALL_SOURCES
from .wire import Address, Observe, Wire

DEFAULT_TIMEOUT_S = 0.045
ADMIN_TIMEOUT_S = 5.0
START_TRIES = 6
START_PAUSE_S = 0.25
SENTINEL_OPTIONS = ("sentinel_tls", "sentinel_user", "sentinel_password")
DEFAULT_PORT = 6379
SENTINEL_PORT = 26379
CONNECTIONS = 64
TLS_FILES = {"ca_file": "ssl_ca_certs", "cert_file": "ssl_certfile", "key_file": "ssl_keyfile"}


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A parsed URL; `hosts` has several entries for Sentinel only."""

    kind: str  # single, cluster, sentinel
    address: Address
    hosts: tuple[tuple[str, int], ...] = ()
    master: str = ""
    sentinel: dict[str, Any] = field(
        default_factory=dict
    )  # options for them, as redis-py names them
    tls_files: dict[str, str] = field(default_factory=dict)  # as redis-py names them


def parse_store_url(url: str) -> StoreUrl:
    """Raises UsageError that says what a store URL looks like (never repeating a password)."""
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    login: dict[str, Any] = {
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
    }
    if scheme == "unix" and not kind:
        database = _database([query["db"]] if "db" in query else [], url)
        return StoreUrl("single", Address(path=unquote(parts.path), database=database, **login))
    if scheme not in ("redis", "rediss", "valkey", "valkeys") or kind not in (
        "",
        "cluster",
        "sentinel",
    ):
        raise UsageError(
            f"--store: '{parts.scheme}://' is no store; use embedded, redis://host:port, "
            "valkey://host:port, rediss://host:port, redis+cluster://host:port, "
            "redis+sentinel://host:port,host:port/master or unix:///path"
        )
    tls_files = {TLS_FILES[name]: query[name] for name in TLS_FILES if name in query}
    tls = _tls(tls_files) if scheme in ("rediss", "valkeys") else None
    _check_query(query, kind)
    if query.get("cluster") == "1":
        kind = "cluster"
    where = parts.netloc.rpartition("@")[2]
    default = SENTINEL_PORT if kind == "sentinel" else DEFAULT_PORT
    hosts = tuple(_host(text, default, url) for text in where.split(",") if text)
    if not hosts:
        raise UsageError("--store: the URL names no host")
    segments = [segment for segment in parts.path.split("/") if segment]
    master = segments.pop(0) if kind == "sentinel" and segments else ""
    if kind == "sentinel" and not master:
        raise UsageError("--store: a Sentinel URL ends in /master-name")
    address = Address(
        host=hosts[0][0],
        port=hosts[0][1],
        database=_database(segments, url),
        tls=tls,
        **login,
    )
    sentinel = _sentinel_options(query, {} if tls is None else {"ssl": True, **tls_files})
    return StoreUrl(kind or "single", address, hosts, master, sentinel, tls_files)


def _unread(text: str, what: str, url: str) -> UsageError:
    """Of a login with / or # in it that is not encoded a part is read as host or database: then
    what was read is not repeated."""
    if "@" not in url:
        return UsageError(f"--store: '{text}' is no {what}")
    return UsageError(
        f"--store: the URL has no {what} where it should stand; in user and password write "
        "@ : / ? # % as %40 %3A %2F %3F %23 %25"
    )


def _check_query(query: Mapping[str, str], kind: str) -> None:
    """A misspelt option must not be taken for one that was never given."""
    known = {*TLS_FILES, "cluster", *(SENTINEL_OPTIONS if kind == "sentinel" else ())}
    for name in query.keys() - known:
        raise UsageError(f"--store: ?{name}: no such option; there are {', '.join(sorted(known))}")
    for name in ("cluster", "sentinel_tls"):
        if query.get(name, "0") not in ("0", "1"):
            raise UsageError(f"--store: ?{name} is 0 or 1")


def _sentinel_options(query: Mapping[str, str], tls: Mapping[str, Any]) -> dict[str, Any]:
    login = {"username": query.get("sentinel_user"), "password": query.get("sentinel_password")}
    given = {name: value for name, value in login.items() if value is not None}
    return given if query.get("sentinel_tls") == "0" else {**given, **tls}


def _host(text: str, default: int, url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        return parts.hostname or "127.0.0.1", parts.port or default
    except ValueError:
        raise _unread(text, "host:port", url) from None


def _database(segments: list[str], url: str) -> int:
    if not segments:
        return 0
    if not segments[0].isdigit() or len(segments[0]) > 4:
        raise _unread(segments[0], "database number", url)
    return int(segments[0])


def _tls(files: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=files.get("ssl_ca_certs"))
        if "ssl_certfile" in files:
            context.load_cert_chain(files["ssl_certfile"], files.get("ssl_keyfile"))
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"--store: the TLS files cannot be used: {error}") from None
    return context


def _ignore(call: str, seconds: float, error_kind: str | None) -> None:
    pass


async def open_store(
    url: str,
    *,
    secret_fingerprint: str,
    prefix: str = "hg:",
    timeout_s: float = DEFAULT_TIMEOUT_S,
    observe: Observe = _ignore,
) -> RedisStore:
    """Connect, and refuse a store that must not be used.

    `timeout_s` bounds every call of the hot path. Raises UsageError for a bad URL,
    StoreMismatchError for an unfit store, StoreError when it does not answer.
    """
    store = await connect_store(url, prefix=prefix, timeout_s=timeout_s, observe=observe)
    try:
        await store.check(secret_fingerprint)
    except BaseException:
        await store.aclose()
        raise
    return store


async def open_store_at_start(
    url: str, *, secret_fingerprint: str, timeout_s: float = DEFAULT_TIMEOUT_S
) -> RedisStore:
    """`open_store` for whoever ends when it fails: a store that answers late is asked again,
    `START_TRIES` times in all, as it may be loading its data, or the machine busy with our start.

    Raises what `open_store` does; StoreError of the last try.
    """
    for _ in range(START_TRIES - 1):
        try:
            return await open_store(url, secret_fingerprint=secret_fingerprint, timeout_s=timeout_s)
        except StoreError as error:
            if error.kind != "timeout":
                raise
            await asyncio.sleep(START_PAUSE_S)
    return await open_store(url, secret_fingerprint=secret_fingerprint, timeout_s=timeout_s)


async def connect_store(
    url: str,
    *,
    prefix: str = "hg:",
    timeout_s: float = DEFAULT_TIMEOUT_S,
    observe: Observe = _ignore,
) -> RedisStore:
    """Connect only: whether the store may be used is for its `check` to say.

    Raises UsageError for a bad URL, StoreError when it does not answer.
    """
    parsed = parse_store_url(url)
    opener = _open_cluster if parsed.kind == "cluster" else _open_single
    return await opener(parsed, Keys(prefix), timeout_s, observe)


async def _open_single(
    parsed: StoreUrl, keys: Keys, timeout_s: float, observe: Observe
) -> RedisStore:
    locate: Callable[[], Awaitable[Address]] | None = None
    async with contextlib.AsyncExitStack() as undo:
        if parsed.kind == "sentinel":
            clients, locate = _sentinel_clients(parsed)
        else:
            clients = [_client(parsed)]
        for client in clients:
            undo.push_async_callback(client.aclose)
        address = parsed.address if locate is None else await locate()
        wire = Wire(address, timeout_s=timeout_s, scripts=ALL_SOURCES, locate=locate)
        await wire.open()
        undo.pop_all()
    return RedisStore(
        router=SingleRouter(wire, keys, observe),
        clients=clients,
        keys=keys,
        timeout_s=timeout_s,
        observe=observe,
    )


def _sentinel_clients(parsed: StoreUrl) -> tuple[list[Any], Callable[[], Awaitable[Address]]]:
    """(the primary's client and the Sentinels', a way to find the primary)."""
    at = parsed.address
    sentinel = cast(Any, Sentinel)(
        list(parsed.hosts),
        sentinel_kwargs={"socket_timeout": ADMIN_TIMEOUT_S, "retry": _retry(), **parsed.sentinel},
    )
    primary = sentinel.master_for(
        parsed.master,
        username=at.username,
        password=at.password,
        db=at.database,
        socket_timeout=ADMIN_TIMEOUT_S,
        retry=_retry(),
        **_tls_options(parsed),
    )

    async def locate() -> Address:
        with mapped():
            host, port = await sentinel.discover_master(parsed.master)
        return replace(at, host=host, port=int(port))

    return [primary, *sentinel.sentinels], locate


def _tls_options(parsed: StoreUrl) -> dict[str, Any]:
    return {} if parsed.address.tls is None else {"ssl": True, **parsed.tls_files}


def _client(parsed: StoreUrl) -> Any:
    address = parsed.address
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "db": address.database,
        "socket_timeout": ADMIN_TIMEOUT_S,
        "socket_connect_timeout": ADMIN_TIMEOUT_S,
        "retry": _retry(),
        "max_connections": CONNECTIONS,
        "timeout": ADMIN_TIMEOUT_S,
    }
    pool: Any
    if address.path is not None:
        pool = redis_client.BlockingConnectionPool(
            connection_class=redis_client.UnixDomainSocketConnection, path=address.path, **options
        )
    elif address.tls is not None:
        pool = redis_client.BlockingConnectionPool(
            connection_class=redis_client.SSLConnection,
            host=address.host,
            port=address.port,
            **options | parsed.tls_files,
        )
    else:
        pool = redis_client.BlockingConnectionPool(host=address.host, port=address.port, **options)
    return redis_client.Redis.from_pool(pool)  # closes the pool with itself


def _retry() -> Retry:
    """Once more on a new connection, for one that died in the pool; by default redis-py would
    wait for seconds and try three times."""
    return Retry(ConstantBackoff(0.05), 1)


async def _open_cluster(
    parsed: StoreUrl, keys: Keys, timeout_s: float, observe: Observe
) -> RedisStore:
    at = parsed.address
    client: Any = RedisCluster(
        host=at.host,
        port=at.port,
        username=at.username,
        password=at.password,
        socket_timeout=ADMIN_TIMEOUT_S,
        retry=_retry(),
        **_tls_options(parsed),
    )

    async def discover() -> dict[int, Address]:
        with mapped():
            await client.nodes_manager.initialize()
            slots = client.nodes_manager.slots_cache
        found = {
            slot: replace(at, host=nodes[0].host, port=int(nodes[0].port))
            for slot, nodes in slots.items()
            if nodes
        }
        if not found:
            raise StoreError("unreachable", "the Cluster serves no slots")
        return found

    async with contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(client.aclose)
        with mapped():
            await client.initialize()
        router = ClusterRouter(keys, discover, timeout_s=timeout_s, observe=observe)
        undo.push_async_callback(router.aclose)
        await router.open()
        undo.pop_all()
    return RedisStore(
        router=router, clients=[client], keys=keys, timeout_s=timeout_s, observe=observe
    )
