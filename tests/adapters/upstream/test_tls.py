"""TLS with a certificate authority made here, out of the `cryptography` package."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.adapters.upstream import HttpUpstream, UpstreamSettings
from gateway.errors import UpstreamError, UsageError

from .peer import (
    ANSWER,
    STREAM_HEAD,
    Wire,
    answering,
    client_of,
    connections_alive,
    fetch,
    get,
    saying,
    serving,
    until,
    whole,
)

MIB = 1024 * 1024


@dataclass(frozen=True)
class Authority:
    """A CA and what it has signed: PEM files of certificate and key together."""

    ca_file: str
    server_file: str
    client_file: str


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    extensions: list[x509.ExtensionType],
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder: Path = tmp_path_factory.mktemp("ca")
    ca_key, server_key, client_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    ca = _certificate(
        "test ca",
        ca_key,
        issuer="test ca",
        issuer_key=ca_key,
        extensions=[x509.BasicConstraints(ca=True, path_length=0)],
    )
    server = _certificate(
        "server",
        server_key,
        issuer="test ca",
        issuer_key=ca_key,
        extensions=[x509.SubjectAlternativeName(names)],
    )
    client = _certificate("gateway", client_key, issuer="test ca", issuer_key=ca_key, extensions=[])
    files = Authority(*(str(folder / name) for name in ("ca.pem", "server.pem", "client.pem")))
    Path(files.ca_file).write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    Path(files.server_file).write_bytes(_pem(server, server_key))
    Path(files.client_file).write_bytes(_pem(client, client_key))
    return files


def server_context(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server_file)
    return context


async def failing(upstream: HttpUpstream) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await fetch(upstream)
    assert upstream.usage().connections == 0
    return caught.value


async def test_a_verified_connection_is_kept_alive_and_names_its_host(
    authority: Authority,
) -> None:
    asked_for: list[str | None] = []
    context = server_context(authority)
    context.sni_callback = lambda _, name, __: asked_for.append(name)
    async with (
        serving(answering(ANSWER), tls=context) as peer,
        client_of(peer, scheme="https", host="localhost", ca_file=authority.ca_file) as upstream,
    ):
        for _ in range(3):
            assert await fetch(upstream) == b"ok"
        assert (asked_for, peer.connections) == (["localhost"], 1)


async def test_an_address_is_verified_as_an_address(authority: Authority) -> None:
    async with (
        serving(answering(ANSWER), tls=server_context(authority)) as peer,
        client_of(peer, scheme="https", ca_file=authority.ca_file) as upstream,
    ):
        assert await fetch(upstream) == b"ok"


async def test_a_large_body_goes_both_ways(authority: Authority) -> None:
    async def script(wire: Wire) -> None:
        while True:
            body = (await wire.request()).body
            await wire.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    body = bytes(range(256)) * (8 * MIB // 256)
    async with (
        serving(script, tls=server_context(authority)) as peer,
        client_of(peer, scheme="https", ca_file=authority.ca_file) as upstream,
    ):
        for _ in range(2):
            assert await whole(await upstream.send(b"POST", b"/", [], body)) == body
        assert peer.connections == 1


async def test_an_unknown_authority_is_tls_failed(authority: Authority) -> None:
    async with (
        serving(answering(ANSWER), tls=server_context(authority)) as peer,
        client_of(peer, scheme="https") as upstream,
    ):
        error = await failing(upstream)
        assert (error.kind, error.sent) == ("tls_failed", False)
        assert not peer.requests


async def test_another_hosts_certificate_is_tls_failed(authority: Authority) -> None:
    """127.1 resolves to 127.0.0.1, and is none of the names in the certificate."""
    async with (
        serving(answering(ANSWER), tls=server_context(authority)) as peer,
        client_of(peer, scheme="https", host="127.1", ca_file=authority.ca_file) as upstream,
    ):
        error = await failing(upstream)
        assert (error.kind, error.sent) == ("tls_failed", False)
        assert "127.1" in str(error)
        assert not peer.requests


async def test_a_peer_without_tls_is_tls_failed(authority: Authority) -> None:
    async def script(wire: Wire) -> None:
        await wire.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with (
        serving(script) as peer,
        client_of(peer, scheme="https", ca_file=authority.ca_file) as upstream,
    ):
        assert (await failing(upstream)).kind == "tls_failed"


async def test_a_peer_that_closes_in_the_handshake_is_tls_failed(authority: Authority) -> None:
    async def script(wire: Wire) -> None:
        await wire.reader.read(1)

    async with (
        serving(script) as peer,
        client_of(peer, scheme="https", ca_file=authority.ca_file) as upstream,
    ):
        assert (await failing(upstream)).kind == "tls_failed"


async def test_a_handshake_that_stalls_is_connect_timeout(authority: Authority) -> None:
    async with (
        serving(Wire.gone) as peer,
        client_of(
            peer, scheme="https", ca_file=authority.ca_file, connect_timeout_s=0.1
        ) as upstream,
    ):
        error = await failing(upstream)
        assert (error.kind, error.sent) == ("connect_timeout", False)
        await until(lambda: not peer.open)


async def test_cancelling_the_handshake_leaves_nothing(authority: Authority) -> None:
    """At whatever step: uvloop may keep its own timer for up to the connect timeout."""
    settings = {"scheme": "https", "ca_file": authority.ca_file, "connect_timeout_s": 0.5}
    async with serving(Wire.gone) as peer, client_of(peer, **settings) as upstream:
        for turns in range(12):
            task = asyncio.create_task(fetch(upstream))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert upstream.usage().connections == 0
        await until(lambda: not peer.open)

    def is_clean() -> bool:
        gc.collect()  # uvloop's TLS transports are cycles
        return not connections_alive()

    await until(is_clean)


async def test_cancelling_mid_body_closes_at_once(authority: Authority) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(STREAM_HEAD + b"1\r\nx\r\n")
        await wire.gone()

    async with (
        serving(script, tls=server_context(authority)) as peer,
        client_of(peer, scheme="https", ca_file=authority.ca_file) as upstream,
    ):
        response = await get(upstream)
        assert await response.read_chunk() == b"x"
        task = asyncio.create_task(response.read_chunk())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert upstream.usage().connections == 0
        await until(lambda: not peer.open)


TO_THE_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nall of it"


async def cut_off(wire: Wire) -> None:
    """As an attacker on the way would: the connection ends without TLS ending."""
    await wire.request()
    await wire.say(TO_THE_CLOSE)
    wire.say_no_more()
    await wire.gone()


async def test_a_body_that_the_close_ends_needs_the_close_to_be_the_peers(
    authority: Authority,
) -> None:
    async with (
        serving(cut_off, tls=server_context(authority)) as peer,
        client_of(peer, scheme="https", ca_file=authority.ca_file) as upstream,
    ):
        assert (await failing(upstream)).kind == "reset"
    async with (
        serving(saying(TO_THE_CLOSE), tls=server_context(authority)) as peer,
        client_of(peer, scheme="https", ca_file=authority.ca_file) as upstream,
    ):
        assert await fetch(upstream) == b"all of it"


async def test_a_client_certificate_is_shown_when_asked_for(authority: Authority) -> None:
    context = server_context(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca_file)
    settings = {"scheme": "https", "ca_file": authority.ca_file}
    async with serving(answering(ANSWER), tls=context) as peer:
        async with client_of(peer, **settings, client_cert_file=authority.client_file) as upstream:
            assert await fetch(upstream) == b"ok"
        async with client_of(peer, **settings) as upstream:
            # TLS 1.3 lets the client finish first, so that the refusal may come after the request.
            assert (await failing(upstream)).kind in ("tls_failed", "reset", "connect_failed")


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    for changed in (
        {"ca_file": str(bad)},
        {"ca_file": str(tmp_path / "missing.pem")},
        {"client_cert_file": str(bad)},
        {"client_cert_file": authority.ca_file, "client_key_file": str(bad)},
    ):
        with pytest.raises(UsageError, match="not usable for TLS"):
            HttpUpstream(
                UpstreamSettings(scheme="https", host="localhost", **changed)  # type: ignore[arg-type]
            )
