"""The doctor before real stores and a real stand-in: each ailment is named, with what to do."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.adapters.geo.build import Tables, build
from gateway.classifiers.load import SHIPPED, load_task_model
from gateway.core.keyed import KeyedHash
from gateway.doctor import Finding, State, account_records, examine, pages, upstreams
from gateway.loadtests.processes import standin
from gateway.loadtests.servers.ports import free_port
from gateway.loadtests.servers.valkey import Server
from gateway.settings import VerificationConfig
from gateway.settings_file import load_settings
from gateway.stores import open_store
from tests.adapters.upstream.peer import answering, serving
from tests.surfaces.mailbox import mailbox

POLICIES = Path(__file__).resolve().parents[2] / "policies"
SECRET = "0123456789abcdef0123456789abcdef"


def findings(folder: Path, **changes: Any) -> list[Finding]:
    settings = {
        "upstreams": [{"url": f"http://127.0.0.1:{free_port()}"}],
        "policy": POLICIES / "enforce",
        "data_dir": folder / "data",
        **changes,
    }

    async def collect() -> list[Finding]:
        return [finding async for finding in examine(load_settings(None, settings))]

    return asyncio.run(collect())


def of(found: list[Finding], topic: str, state: State) -> list[str]:
    return [finding.said for finding in found if (finding.topic, finding.state) == (topic, state)]


def write_secret(folder: Path, text: str = SECRET, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_text(text)
    path.chmod(mode)
    return path


def keys_of(server: Server) -> list[bytes]:
    with server.client() as client:
        return sorted(client.keys("*"))


def test_a_healthy_gateway_with_a_store_of_its_own(tmp_path: Path) -> None:
    server = Server(tmp_path, "--appendonly", "yes")
    server.start()
    try:
        with standin("--time-scale", "0") as upstream:
            found = findings(
                tmp_path,
                upstreams=[{"url": upstream}],
                store=server.url,
                secret_file=write_secret(tmp_path),
            )
        assert [finding for finding in found if finding.state is State.BAD] == []
        said = of(found, "store", State.OK)
        assert "is empty and can be used" in said
        assert "keeps an append-only file" in said
        assert any("clock agrees" in text for text in said)
        assert keys_of(server) == [], "the doctor has written to the store"
    finally:
        server.stop()


def test_a_store_that_must_not_be_used(tmp_path: Path) -> None:
    server = Server(tmp_path, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
    server.start()
    try:
        found = findings(tmp_path, store=server.url, secret_file=write_secret(tmp_path))
        (evicting,) = [f for f in found if "allkeys-lru" in f.said]
        assert (evicting.topic, evicting.state) == ("store", State.BAD)
        assert "CONFIG SET" in evicting.fix
        assert not any("nothing is evicted" in said for said in of(found, "store", State.OK))
        assert any("append-only" in said for said in of(found, "store", State.WARNING))
    finally:
        server.stop()


def test_a_store_of_another_secret(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    try:

        async def fill() -> None:
            other = KeyedHash(b"another secret of thirty-two byte").fingerprint()
            await (await open_store(server.url, secret_fingerprint=other)).aclose()

        asyncio.run(fill())
        found = findings(tmp_path, store=server.url, secret_file=write_secret(tmp_path))
        assert any("another secret" in said for said in of(found, "store", State.BAD))
    finally:
        server.stop()


def test_a_store_that_is_nearly_full(tmp_path: Path) -> None:
    server = Server(tmp_path, "--maxmemory", "32mb")
    server.start()
    try:
        with server.client() as client:
            for number in range(26):
                client.set(f"x{number}", b"x" * 1_000_000)
        found = findings(tmp_path, store=server.url, secret_file=write_secret(tmp_path))
        assert any("of maxmemory is used" in said for said in of(found, "store", State.WARNING))
    finally:
        server.stop()


def test_a_replica(tmp_path: Path) -> None:
    primary = Server(tmp_path)
    primary.start()
    replica = Server(tmp_path, "--replicaof", "127.0.0.1", str(primary.port))
    replica.start()
    try:
        found = findings(tmp_path, store=replica.url, secret_file=write_secret(tmp_path))
        assert any("is a replica" in said for said in of(found, "store", State.BAD))
    finally:
        replica.stop()
        primary.stop()


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [(SECRET, 0o644, "others can read it"), ("tooshortq", 0o600, "at least")],
    ids=["open", "short"],
)
def test_a_bad_secret(tmp_path: Path, text: str, mode: int, said: str) -> None:
    found = findings(tmp_path, secret_file=write_secret(tmp_path, text, mode))
    assert any(said in one for one in of(found, "secret", State.BAD))
    assert not any(text in str(one) for one in found), "the doctor tells a secret"


def test_a_policy_that_is_broken_or_in_shadow(tmp_path: Path) -> None:
    found = findings(tmp_path, policy=POLICIES / "observe")
    assert any("0 of" in said for said in of(found, "policy", State.WARNING))
    policy = tmp_path / "policy"
    policy.mkdir()
    (policy / "policy.yaml").write_text("version: 1\nname: x\nmoed: enforce\n")
    found = findings(tmp_path, policy=policy)
    assert any(
        "policy.yaml:3" in said and "mode" in said for said in of(found, "policy", State.BAD)
    )


def test_nobody_answers(tmp_path: Path) -> None:
    found = findings(tmp_path, store=f"redis://127.0.0.1:{free_port()}")
    assert any("unreachable" in said for said in of(found, "store", State.BAD))
    assert any("does not answer" in said for said in of(found, "upstream", State.BAD))


def test_the_mail_server_is_knocked_at_and_gets_no_mail(tmp_path: Path) -> None:
    with mailbox() as mail:
        for port, state, said in (
            (mail.port, State.OK, f"127.0.0.1:{mail.port} answers"),
            (free_port(), State.BAD, "cannot be used: ConnectionRefusedError"),
        ):
            smtp = {"host": "127.0.0.1", "port": port, "tls": "none", "sender": "v@example.org"}
            verification = {
                "public_url": "http://127.0.0.1:1",
                "service_name": "Example API",
                "smtp": smtp,
            }
            (found,) = of(findings(tmp_path, verification=verification), "mail server", state)
            assert said in found
        assert mail.messages == []


def test_more_workers_than_cores(tmp_path: Path) -> None:
    found = findings(tmp_path, workers=256)
    assert any("256 workers share" in said for said in of(found, "machine", State.WARNING))


def test_exit_code_and_json(tmp_path: Path) -> None:
    port = free_port()
    command = [
        *(sys.executable, "-m", "hydragate.cli", "doctor", "--json"),
        *("--upstream", f"http://127.0.0.1:{port}", "--policy", str(POLICIES / "enforce")),
        *("--data-dir", str(tmp_path / "data")),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 1, run.stderr
    told = json.loads(run.stdout)
    bad = [one for one in told if one["state"] == "bad"]
    assert [one["topic"] for one in bad] == ["upstream"]
    assert all(one["fix"] for one in bad)


def test_a_user_without_rights(tmp_path: Path) -> None:
    """A user without the rights that a gateway needs is told which those are."""
    server = Server(tmp_path)
    server.start()
    try:
        with server.client() as client:
            client.acl_setuser("hg", enabled=True, nopass=True, commands=["+@connection"])
        url = server.url.replace("redis://", "redis://hg:any@")
        found = findings(tmp_path, store=url, secret_file=write_secret(tmp_path))
        fixes = [f.fix for f in found if f.topic == "store" and f.state is State.BAD]
        assert any("~hg:*" in fix for fix in fixes), found
    finally:
        server.stop()


def test_a_model_that_cannot_be_used_and_one_that_nobody_asks(tmp_path: Path) -> None:
    broken = tmp_path / "model.json"
    broken.write_text('{"format": 1, "features": "request/0", "heads": {}}')
    found = findings(tmp_path, classifier={"model": broken})
    assert "it was trained on request/0" in of(found, "classifier", State.BAD)[0]
    broken.write_bytes(SHIPPED.read_bytes())
    found = findings(tmp_path, classifier={"model": broken})
    assert "nothing is scored" in of(found, "classifier", State.WARNING)[0]
    found = findings(tmp_path, classifier={"model": broken, "always": True})
    assert load_task_model().version in of(found, "classifier", State.OK)[0]


def test_lists_of_networks_that_are_missing_or_old(tmp_path: Path) -> None:
    tables = Tables()
    tables.classes[0].append((0x14010000, 0x140100FF, "vpn"))
    fresh, old = tmp_path / "fresh.geo", tmp_path / "old.geo"
    today = datetime.now(UTC).date()
    for path, when in ((fresh, today), (old, today - timedelta(days=100))):
        build(tables, path, made="", data_date=when.isoformat(), attribution="")
    warned = of(
        findings(tmp_path, geo={"files": [old], "bundled": False}), "address data", State.WARNING
    )
    assert any("list of vpn networks is 100 days old" in said for said in warned)
    assert any("no list of tor networks" in said for said in warned)
    found = findings(tmp_path, geo={"files": [fresh, old], "bundled": False})
    assert "the newest list of vpn networks is 0 days old" in of(found, "address data", State.OK)
    patient = findings(
        tmp_path, geo={"files": [old], "bundled": False, "warn_lists_after_days": 101}
    )
    assert any("vpn networks is 100" in said for said in of(patient, "address data", State.OK))


def test_who_may_say_where_a_client_is(tmp_path: Path) -> None:
    found = findings(tmp_path, trusted_proxies=["10.0.0.0/8", "::/0"])
    assert [said for said in of(found, "address data", State.BAD) if "::/0" in said]
    found = findings(tmp_path, address_header="cf-connecting-ip")
    warned = of(found, "address data", State.WARNING)
    assert any("cf-connecting-ip) is not read" in said for said in warned)
    found = findings(tmp_path, trusted_proxies=["10.0.0.0/8"], address_header="cf-connecting-ip")
    assert not of(found, "address data", State.BAD)


@pytest.mark.parametrize(
    ("url", "changes", "state", "said"),
    [
        pytest.param("https://v.example.org", {}, State.OK, "links begin", id="reached"),
        pytest.param("http://v.example.org", {}, State.WARNING, "links begin", id="no TLS"),
        pytest.param(
            *("https://v.example.org", {"checks": {}}, State.WARNING, "check port"),
            id="behind a data plane",
        ),
    ],
)
def test_it_says_where_the_pages_of_a_verification_are_reached(
    url: str, changes: dict[str, Any], state: State, said: str
) -> None:
    smtp = {"host": "127.0.0.1", "port": free_port(), "tls": "none", "sender": "v@example.org"}
    settings = {
        "upstreams": [{"url": "http://127.0.0.1:9"}],
        "policy": POLICIES / "enforce",
        "verification": {"public_url": url, "smtp": smtp},
        **changes,
    }

    async def look() -> list[Finding]:
        return [one async for one in pages.examine(load_settings(None, settings))]

    (found,) = asyncio.run(look())
    assert found.state is state
    assert said in found.said
    assert (state is State.OK) == (found.fix == "")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("https://API.Example.com:443/", "https://api.example.com"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://bücher.example:8443", "https://xn--bcher-kva.example:8443"),
    ],
)
def test_a_public_url_is_kept_as_browsers_write_an_origin(said: str, kept: str) -> None:
    smtp = {"host": "127.0.0.1", "sender": "v@example.org"}
    assert VerificationConfig.model_validate({"public_url": said, "smtp": smtp}).public_url == kept


ADOPTS = "version: 1\nname: x\nmode: enforce\nunknown_credentials: adopt\non_store_error: deny\n"


@pytest.mark.parametrize(
    ("status", "state", "said"),
    [
        pytest.param(401, State.OK, "asks for a key (401)", id="unauthorized"),
        pytest.param(403, State.OK, "asks for a key (403)", id="forbidden"),
        pytest.param(404, State.WARNING, "has no /v1/models there (404)", id="another path"),
        pytest.param(302, State.WARNING, "with 302 instead of 401", id="sent elsewhere"),
        pytest.param(429, State.WARNING, "with 429 instead of 401", id="busy"),
        pytest.param(500, State.BAD, "answers with a fault (500)", id="broken"),
        pytest.param(503, State.BAD, "answers with a fault (503)", id="nobody behind it"),
    ],
)
async def test_only_who_asks_for_a_key_is_said_to(status: int, state: State, said: str) -> None:
    found = await of_an_upstream_that_answers(status, policy=POLICIES / "enforce")
    assert found.state is state
    assert said in found.said
    assert (state is State.OK) == (found.fix == "")


@pytest.mark.parametrize(
    ("policy", "has_key", "state"),
    [
        pytest.param(ADOPTS, False, State.WARNING, id="adopted"),
        pytest.param(ADOPTS, True, State.OK, id="adopted but under our own key"),
        pytest.param(ADOPTS.replace("adopt", "refuse"), False, State.OK, id="refused"),
        pytest.param("version: 1\nbroken: [", False, State.OK, id="another topic's"),
    ],
)
async def test_an_open_upstream_is_warned_of_only_where_unknown_keys_are_adopted(
    tmp_path: Path, policy: str, has_key: bool, state: State
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy)
    keyed = {"api_key_file": write_secret(tmp_path, "key")} if has_key else {}
    found = await of_an_upstream_that_answers(200, policy=file, **keyed)
    assert found.state is state
    assert "serves callers without any key" in found.said


@pytest.mark.parametrize(
    ("begins", "ends", "state", "said"),
    [
        (-30, 60, State.OK, "ends in 60 days"),
        (-30, 7, State.WARNING, "ends in 7 days"),
        (-30, -1, State.BAD, "certificate has expired"),
        (1, 60, State.BAD, "certificate is not yet valid"),
    ],
    ids=["fresh", "soon", "expired", "early"],
)
def test_the_certificate_is_told_before_it_ends(
    tmp_path: Path, begins: int, ends: int, state: State, said: str
) -> None:
    cert, key = write_certificate(tmp_path, timedelta(days=begins), timedelta(days=ends))
    found = findings(tmp_path, tls_cert=cert, tls_key=key)
    (one,) = [finding for finding in found if finding.topic == "certificate"]
    assert one.state == state
    assert said in one.said
    assert ("renew" in one.fix) == (state is not State.OK)


def write_certificate(folder: Path, begins: timedelta, ends: timedelta) -> tuple[Path, Path]:
    """A leaf that no root signed, and its key."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api.example.com")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a root")]))
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends + timedelta(minutes=1))
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    key.chmod(0o600)
    return cert, key


async def of_an_upstream_that_answers(status: int, *, policy: Path, **upstream: Any) -> Finding:
    answer = b"HTTP/1.1 %d Whatever\r\ncontent-length: 0\r\n\r\n" % status
    async with serving(answering(answer)) as peer:
        one = {"url": f"http://127.0.0.1:{peer.port}", **upstream}
        settings = load_settings(None, {"upstreams": [one], "policy": policy})
        (found,) = [finding async for finding in upstreams.examine(settings)]
    return found


GOOD_RECORD = '{"account_id": "acc_%d", "keys": ["sk-secret-%d"]}'
BAD_RECORD = '{"account_id": "acc_b", "created_at": "yesterday"}'


@pytest.mark.parametrize(
    ("good", "bad", "state", "said"),
    [
        pytest.param(3, 0, State.OK, "3 records can be used", id="sound"),
        pytest.param(0, 0, State.WARNING, "names nobody", id="empty"),
        pytest.param(0, 2, State.BAD, "none of 2 records can be used", id="all bad"),
        pytest.param(49, 1, State.BAD, "1 of 50 records cannot be used", id="over a hundredth"),
        pytest.param(99, 1, State.WARNING, "1 of 100 records cannot be used", id="a hundredth"),
    ],
)
async def test_the_records_of_the_accounts_file(
    tmp_path: Path, good: int, bad: int, state: State, said: str
) -> None:
    file = tmp_path / "accounts.jsonl"
    records = [GOOD_RECORD % (number, number) for number in range(good)] + [BAD_RECORD] * bad
    file.write_text("\n".join(records))
    wanted = {"upstreams": [{"url": "http://127.0.0.1:9"}], "policy": POLICIES / "enforce"}
    settings = load_settings(None, {**wanted, "accounts": file})
    (found,) = [finding async for finding in account_records.examine(settings)]
    assert found.state is state
    assert said in found.said
    assert ("created_at: Unix seconds" in found.said) == (bad > 0)
    assert "sk-secret" not in str(found)
