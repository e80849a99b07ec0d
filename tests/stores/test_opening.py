"""From a URL to an open store: single, TLS, Sentinel."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.errors import StoreError, UsageError
from gateway.loadtests.servers.sentinel import watched_pair
from gateway.loadtests.servers.valkey import Server, server
from gateway.model import Subject
from gateway.stores import open_store
from gateway.stores.keys import Keys
from gateway.stores.opening import parse_store_url
from gateway.stores.routing import SingleRouter
from gateway.stores.wire import Address, Wire

from .steps import charge, gcra

T = TypeVar("T")

FAILOVER_S = 20.0

# ── URLs ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "kind", "where", "database"),
    [
        ("redis://h", "single", "h:6379", 0),
        ("valkey://h:1/5", "single", "h:1", 5),
        ("redis://u:p%40w@h:1", "single", "h:1", 0),
        ("redis://[::1]:7", "single", "::1:7", 0),
        ("rediss://h", "single", "h:6379", 0),
        ("valkeys://h", "single", "h:6379", 0),
        ("unix:///run/store.sock?db=2", "single", "/run/store.sock", 2),
        ("redis+cluster://h:1", "cluster", "h:1", 0),
        ("rediss+cluster://h:1", "cluster", "h:1", 0),
        ("valkey://h:1?cluster=1", "cluster", "h:1", 0),
        ("redis+sentinel://a:1,b/main/3", "sentinel", "a:1", 3),
    ],
)
def test_a_url_says_where_the_store_is(url: str, kind: str, where: str, database: int) -> None:
    parsed = parse_store_url(url)
    assert (parsed.kind, str(parsed.address), parsed.address.database) == (kind, where, database)
    assert (parsed.address.tls is not None) == url.startswith(("rediss", "valkeys"))


def test_logins_and_sentinels_are_read_from_the_url() -> None:
    parsed = parse_store_url("redis+sentinel://u:p%40w@a:1,b/main")
    assert (parsed.address.username, parsed.address.password) == ("u", "p@w")
    assert (parsed.hosts, parsed.master) == ((("a", 1), ("b", 26379)), "main")
    assert parse_store_url("unix://:pw@/s.sock").address.password == "pw"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://h", "'http://' is no store"),
        ("embedded", "is no store"),
        ("redis://", "names no host"),
        ("redis://h:port", "no host:port where it should"),
        ("redis://h/five", "no database number where it should"),
        ("redis+sentinel://h", "ends in /master-name"),
        ("rediss://h?ca_file=/nowhere.pem", "TLS files cannot be used"),
        ("rediss://h?ca_fiel=/ca.pem", r"\?ca_fiel: no such option; there are ca_file"),
        ("redis://h?sentinel_user=u", r"\?sentinel_user: no such option"),
        ("redis://h?cluster=yes", r"\?cluster is 0 or 1"),
        ("redis+sentinel://h/main?sentinel_tls=no", r"\?sentinel_tls is 0 or 1"),
    ],
)
def test_a_bad_url_says_what_is_wrong_and_no_password(url: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse_store_url(url.replace("://h", "://u:s3cret@h"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://h:port", "'h:port' is no host:port"),
        ("redis://h/five", "'five' is no database number"),
    ],
)
def test_a_bad_url_without_a_login_repeats_what_is_wrong(url: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_store_url(url)


def test_an_at_sign_elsewhere_is_nobodys_login() -> None:
    assert parse_store_url("unix:///run/a@b.sock").address.path == "/run/a@b.sock"
    assert parse_store_url("redis://u:s3@cret@h/1").address.password == "s3@cret"


@pytest.mark.parametrize("password", ["s3@:cret/1", "s3/cret", "s3#cret", "s3?cret", "12/s3cret"])
def test_a_password_that_is_not_encoded_is_said_without_a_part_of_it(password: str) -> None:
    with pytest.raises(UsageError, match="in user and password write @") as caught:
        parse_store_url(f"redis://u:{password}@h:6379")
    assert "cret" not in str(caught.value)


# ── databases and TLS ────────────────────────────────────────────────────────────────────────


async def test_a_database_number_holds_for_every_client(valkey: Server) -> None:
    store = await open_store(f"{valkey.url}/3", secret_fingerprint="0", prefix="db3:")
    try:
        await store.put(Subject("acc_1"), {"c" * 32: "key_1"})
        assert await store.resolve("c" * 32) is not None
        await store.charge(charge(gcra()))
    finally:
        await store.aclose()
    with redis.Redis(port=valkey.port, db=3) as third, valkey.client() as first:
        assert third.exists("db3:{a:acc_1}", "db3:{a:acc_1}:s") == 2
        assert not list(first.scan_iter(match="db3:*"))


def certify(folder: Path) -> None:
    """`folder`/cert.pem for 127.0.0.1 and localhost, and key.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    x509.DNSName("localhost"),
                ]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@contextlib.asynccontextmanager
async def tls_in_front_of(behind: int, folder: Path) -> AsyncIterator[int]:
    """The port of a TLS end with the certificate in `folder`; `behind` is the plain port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    async def relay(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            while chunk := await source.read(65536):
                sink.write(chunk)
                await sink.drain()
        sink.close()

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(relay(reader, inner_writer), relay(inner_reader, writer))

    front = await asyncio.start_server(on_client, "127.0.0.1", 0, ssl=context)
    try:
        yield front.sockets[0].getsockname()[1]
    finally:
        front.close()
        await asyncio.sleep(0.05)


async def test_tls_holds_for_every_client_and_an_unknown_authority_is_refused(
    valkey: Server, tmp_path: Path
) -> None:
    certify(tmp_path)
    async with tls_in_front_of(valkey.port, tmp_path) as port:
        url = f"rediss://127.0.0.1:{port}?ca_file={tmp_path}/cert.pem"
        store = await open_store(url, secret_fingerprint="0", prefix="tls:", timeout_s=5.0)
        try:
            await store.put(Subject("acc_1"), None)
            assert (await store.charge(charge(gcra()))).applied
        finally:
            await store.aclose()
        with pytest.raises(StoreError, match="certificate"):
            await open_store(f"rediss://127.0.0.1:{port}", secret_fingerprint="0", timeout_s=5.0)


# ── Sentinel ─────────────────────────────────────────────────────────────────────────────────


async def test_sentinel_leads_to_the_new_primary_after_the_old_one_died(tmp_path: Path) -> None:
    with watched_pair(tmp_path) as (primary, replica, sentinel):
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/main"
        store = await open_store(url, secret_fingerprint="0", timeout_s=1.0)
        try:
            await store.put(Subject("acc_1"), {"c" * 32: "key_1"})
            first = await store.charge(charge(gcra()))
            with primary.client() as client:
                client.set("behind", "the charge")  # WAIT waits for what its own connection wrote
                assert client.wait(1, 5000) == 1
            primary.stop()
            reply = await insist(lambda: store.charge(charge(gcra())))
            assert reply.results[0].level == first.results[0].level + gcra().amount
            # A sentinel on a busy machine may doubt the new primary for a moment, too.
            assert await insist(lambda: store.resolve("c" * 32)) is not None
            assert await insist(lambda: store.get("acc_1")) is not None
        finally:
            await store.aclose()
        with replica.client() as client:
            assert client.info("replication")["role"] == "master"


async def insist(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, once the store gives one; its last error when a failover's time is over."""
    deadline = time.monotonic() + FAILOVER_S
    while True:
        try:
            return await ask()
        except StoreError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def sentinel_for(folder: Path, primary_port: int, *settings: str) -> Iterator[Server]:
    """A Sentinel that tells this port, whether it can speak to what is there or not."""
    file = folder / "sentinel.conf"
    file.write_text(
        f"sentinel monitor main 127.0.0.1 {primary_port} 1\n"
        "sentinel down-after-milliseconds main 60000\n" + "\n".join(settings) + "\n"
    )
    sentinel = Server(folder).as_sentinel(file)
    try:
        sentinel.start()
        yield sentinel
    finally:
        sentinel.stop()


async def test_tls_holds_for_primary_and_sentinels_and_can_be_left_out_for_these(
    valkey: Server, tmp_path: Path
) -> None:
    certify(tmp_path)
    async with tls_in_front_of(valkey.port, tmp_path) as primary_port:
        with sentinel_for(tmp_path, primary_port) as sentinel:
            async with tls_in_front_of(sentinel.port, tmp_path) as sentinel_port:
                for port, option in ((sentinel_port, ""), (sentinel.port, "&sentinel_tls=0")):
                    at = f"rediss+sentinel://127.0.0.1:{port}/main"
                    await uses(f"{at}?ca_file={tmp_path}/cert.pem{option}")
                with pytest.raises(StoreError, match="No master found"):
                    await uses(f"rediss+sentinel://127.0.0.1:{sentinel_port}/main")


async def test_sentinels_have_a_password_of_their_own(valkey: Server, tmp_path: Path) -> None:
    with sentinel_for(tmp_path, valkey.port, "requirepass s3cret") as sentinel:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/main"
        await uses(f"{url}?sentinel_password=s3cret")
        with pytest.raises(StoreError) as caught:
            await uses(f"{url}?sentinel_password=wr0ng")
        assert "wr0ng" not in str(caught.value)


async def uses(url: str) -> None:
    """Open the store, write by redis-py, charge by the wire."""
    store = await open_store(url, secret_fingerprint="0", prefix="uses:", timeout_s=5.0)
    try:
        await store.put(Subject("acc_1"), None)
        assert (await store.charge(charge(gcra()))).applied
    finally:
        await store.wipe()
        await store.aclose()


async def test_a_primary_that_becomes_a_replica_is_left(tmp_path: Path) -> None:
    """Its connections stay open and it answers READONLY: look for the primary anew."""
    with server(tmp_path) as old, server(tmp_path) as new:

        async def locate() -> Address:
            return Address(port=new.port)

        wire = Wire(Address(port=old.port), timeout_s=1.0, locate=locate)
        await wire.open()
        router = SingleRouter(wire, Keys("hg:"), lambda call, seconds, kind: None)
        try:
            assert (await router.charge(charge(gcra()))).applied
            with old.client() as client:
                client.replicaof("127.0.0.1", new.port)
            with pytest.raises(StoreError, match="READONLY"):
                await router.charge(charge(gcra()))
            await asyncio.sleep(0)  # it leaves in the next turn
            await wire.connected(FAILOVER_S)
            assert (await router.charge(charge(gcra()))).applied
        finally:
            await router.aclose()
        with new.client() as client:
            assert client.exists("hg:{a:acc_1}")
