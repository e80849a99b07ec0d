"""`hydragate state`: what people decided goes from any store to any other, whole or not at all."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.core.keyed import KeyedHash
from gateway.linking.linker import Linker
from gateway.model import Status, Subject
from gateway.stores import RedisStore, open_store
from gateway.stores.mailbox import Mailbox, read_letter
from gateway.stores.state import StateBook
from gateway.stores.stream import START
from gateway.stores.verification import VerificationBook
from gateway.workers.linker_orders import obey
from gateway.workers.linker_state import Progress
from gateway.workers.state_file import StateFileError, StateWriter, read_head
from gateway.workers.state_transfer import Hand, export, import_file
from tests.stores.decided import ADOPTED, BANNED, DAY_US, appeal, fill, verified

SECRET = "5ec2e7"
HAND = Hand("ada", "the old store goes")
KINDS = ("account", "proof", "appeal", "news", "decision", "mode")
ROUTES = [("valkey", "redis_cluster"), ("redis_cluster", "valkey")]
NOW_US = time.time_ns() // 1000
VERIFIED = verified(NOW_US)


class Now:
    def now_us(self) -> int:
        return NOW_US


@asynccontextmanager
async def opened(running: Any) -> AsyncIterator[RedisStore]:
    prefix = f"t{secrets.token_hex(4)}:"
    store = await open_store(running.url, secret_fingerprint=SECRET, prefix=prefix, timeout_s=5.0)
    try:
        yield store
    finally:
        await store.wipe()
        await store.aclose()


async def export_to(path: Path, store: RedisStore) -> list[str]:
    writer = StateWriter(path, secret=SECRET, made_at="2026-11-25T00:00:00+00:00", version="1")
    exported = await export(store, writer)
    writer.finish()
    return exported.missing


async def states(store: RedisStore) -> list[dict[str, Any]]:
    """All records of a store; of what expires only that it does."""
    book = StateBook(store)
    found = [one async for one in book.accounts()]
    found += [one async for one in book.proofs()]
    found += [one async for one in book.waiting()]
    for one in found:
        if "ttl_ms" in one:
            assert DAY_US / 1000 - 60_000 < one["ttl_ms"] <= DAY_US / 1000
            one["ttl_ms"] = DAY_US / 1000
    return sorted(found, key=str)


@pytest.mark.parametrize(("origin", "target"), ROUTES, ids=["to a Cluster", "from a Cluster"])
async def test_everything_arrives_and_works(
    origin: str, target: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = tmp_path / "state.jsonl"
    async with (
        opened(request.getfixturevalue(origin)) as old,
        opened(request.getfixturevalue(target)) as new,
    ):
        await fill(old, NOW_US)
        assert await export_to(path, old) == []
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"it was not me" not in path.read_bytes()  # packed, and nothing needs to read it
        counts = read_head(path, secret=SECRET)["counts"]
        assert counts == {kind: 3 if kind == "account" else 1 for kind in KINDS}
        assert await import_file(new, path, clock=Now(), hand=HAND, replace=False) == counts

        assert await states(new) == await states(old)
        assert await new.is_shadow_all()
        for credential, subject, key_id in (
            ("k" * 32, BANNED, "key_1"),
            ("m" * 32, VERIFIED, "key_3"),
            ("n" * 32, ADOPTED, None),
        ):
            found = await new.resolve(credential)
            assert found is not None
            assert found.key_id == key_id
            assert found.subject.pseudonym is not None
            assert await new.account_of(found.subject.pseudonym) == subject.account_id
            assert replace(found.subject, version=0, pseudonym=None) == subject
        entry = await VerificationBook(new).read(BANNED.account_id)
        assert entry is not None
        assert entry.record == appeal(NOW_US)
        assert await decisions_that_a_linker_takes_over(new) == [("pin", ["acc_pinned"], "ada")]


async def decisions_that_a_linker_takes_over(store: RedisStore) -> list[tuple[str, list[str], str]]:
    linker = Linker()
    for _, packed in await Mailbox(store).letters.read_after(START, most=10):
        letter = read_letter(packed)
        assert letter is not None
        assert (letter.by, letter.reason) == (HAND.by, HAND.reason)
        assert obey(linker, Progress(), letter)["problems"] == []
    return [(one["decision"], one["accounts"], one["by"]) for one in linker.decisions()]


async def test_a_store_with_accounts_is_not_written_unless_it_is_said(
    valkey: Any, tmp_path: Path
) -> None:
    path = tmp_path / "state.jsonl"
    async with opened(valkey) as old, opened(valkey) as new:
        await fill(old, NOW_US)
        await export_to(path, old)
        other = await new.put(Subject("acc_other"), {"o" * 32: "key_o"})
        before = await new.put(Subject("acc_banned"), {"k" * 32: "key_1", "z" * 32: "key_z"})
        with pytest.raises(StateFileError, match="--replace"):
            await import_file(new, path, clock=Now(), hand=HAND, replace=False)
        assert await new.get("acc_banned") == before
        await import_file(new, path, clock=Now(), hand=HAND, replace=True)
        after = await new.get("acc_banned")
        assert after is not None
        assert after.version > before.version
        assert after.status is Status.BANNED
        assert await new.resolve("z" * 32) is None
        assert await new.get("acc_other") == other


async def test_an_order_that_nobody_has_obeyed_is_told(valkey: Any, tmp_path: Path) -> None:
    async with opened(valkey) as old, opened(valkey) as new:
        await fill(old, NOW_US)
        await export_to(tmp_path / "first", old)
        await import_file(new, tmp_path / "first", clock=Now(), hand=HAND, replace=False)
        (missing,) = await export_to(tmp_path / "second", new)
        assert missing.startswith("1 orders about clusters that no linker has obeyed yet")


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut": (lambda text: text[: len(text) // 2], "is no JSON|has no end"),
    "no end": (lambda text: b"".join(text.splitlines(True)[:-1]), "has no end"),
    "a ban lifted": (lambda text: text.replace(b'"banned"', b'"active"'), "checksum differs"),
    "another end": (lambda text: text + text.splitlines(True)[-1], "more behind the end"),
    "another format": (lambda text: text.replace(b'"format":1', b'"format":9'), "format 9"),
    "no state file": (lambda text: b'{"account_id":"acc_1"}\n', "is no state file"),
    "unknown": (lambda text: text.replace(b'"kind":"mode"', b'"kind":"mood"'), "knows no 'mood'"),
    "no account": (
        lambda text: text.replace(
            b'"account_id":"acc_banned","subject', b'"account_id":"x","subject'
        ),
        "names another",
    ),
}


@pytest.fixture(scope="module")
def sound(valkey: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("state") / "state.jsonl"

    async def make() -> None:
        async with opened(valkey) as store:
            await fill(store, NOW_US)
            await export_to(path, store)

    asyncio.run(make())
    return path.read_bytes()


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_that_is_not_whole_is_refused(name: str, sound: bytes, tmp_path: Path) -> None:
    damage, said = DAMAGE[name]
    damaged = damage(sound)
    assert damaged != sound
    path = tmp_path / "state.jsonl"
    path.write_bytes(damaged)
    with pytest.raises(StateFileError, match=said):
        read_head(path, secret=SECRET)


def test_a_file_of_another_secret_is_refused(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    path.write_bytes(sound)
    with pytest.raises(StateFileError, match="another secret"):
        read_head(path, secret="ba5eba")


def test_both_commands_as_they_are_typed(valkey: Any, tmp_path: Path) -> None:
    """On an empty database of the server, so that no other test's keys are met."""
    secret = tmp_path / "secret"
    secret.write_text("a secret of these tests, and of nobody else")
    secret.chmod(0o600)
    where = ["--store", f"{valkey.url}/7", "--secret-file", str(secret)]
    where += ["--data-dir", str(tmp_path)]
    out = tmp_path / "state.jsonl"
    run = CliRunner().invoke
    made = run(main, ["state", "export", str(out), *where])
    assert (made.exit_code, made.output) == (0, f"{out}: 1 mode\n")
    assert KeyedHash(secret.read_bytes().strip()).fingerprint().encode() in out.read_bytes()
    again = run(main, ["state", "export", str(out), *where])
    assert again.exit_code == 2
    assert "File exists" in again.output
    taken = run(main, ["state", "import", str(out), "--by", "ada", "--reason", "a move", *where])
    assert taken.exit_code == 0, taken.output
    assert '"by":"ada","reason":"a move"' in (tmp_path / "audit.jsonl").read_text()
    away = run(
        main,
        [
            "state",
            "export",
            str(tmp_path / "none"),
            "--store",
            "redis://127.0.0.1:1",
            "--secret-file",
            str(secret),
        ],
    )
    assert away.exit_code == 1
    assert "unreachable" in away.output
    assert not (tmp_path / "none").exists()
