"""A rolling upgrade: what earlier versions left in a store is read by this one, and goes on."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec
import pytest

from gateway import __version__
from gateway.core.window import VOLUME, opened
from gateway.linking.linker import Linker
from gateway.loadtests.servers.valkey import Server
from gateway.model import SECOND_US
from gateway.stores import RedisStore, open_store
from gateway.stores.mailbox import Mailbox, StatusBoard, read_letter
from gateway.stores.snapshots import Snapshots
from gateway.stores.state import StateBook
from gateway.stores.stream import (
    EVIDENCE_MESSAGES,
    START,
    MessageLog,
    evidence_of,
    read_message,
)
from gateway.stores.verification import VerificationBook
from gateway.workers.linker_state import unpack_state

from .decided import ADOPTED, ADOPTED_KEY, BANNED, PROOF, appeal, verified
from .recording import FOLDER, HELD, PREFIX, SECRET, USED, dump, load, record
from .steps import NOW_US, charge, gcra, lease

VERSIONS = sorted(FOLDER.glob("*.json"))


@pytest.fixture(params=VERSIONS, ids=lambda path: path.stem)
async def store(request: pytest.FixtureRequest, valkey: Server) -> AsyncIterator[RedisStore]:
    """As a version left it, under a prefix of its own."""
    prefix = f"t{secrets.token_hex(4)}:"
    held = json.loads(request.param.read_text())
    with valkey.client() as client:
        load(client, {prefix + name.removeprefix(PREFIX): value for name, value in held.items()})
    one = await open_store(valkey.url, secret_fingerprint=SECRET, prefix=prefix, timeout_s=5.0)
    try:
        yield one
    finally:
        await one.wipe()
        await one.aclose()


async def test_accounts_keys_and_grants_are_as_they_were(store: RedisStore) -> None:
    for credential, subject, key_id in (
        ("k" * 32, BANNED, "key_1"),
        ("m" * 32, verified(NOW_US), "key_3"),
        (ADOPTED_KEY, ADOPTED, None),
    ):
        found = await store.resolve(credential)
        assert found is not None
        assert found.key_id == key_id
        assert replace(found.subject, version=0, pseudonym=None) == subject
        assert await store.account_of(str(found.subject.pseudonym)) == subject.account_id
    assert len([one async for one in StateBook(store).accounts()]) == 3
    assert await store.is_shadow_all()


async def test_limits_go_on_where_they_were(store: RedisStore) -> None:
    for _ in range(10 - USED):
        assert (await store.charge(charge(gcra()))).applied
    assert not (await store.charge(charge(gcra()))).applied
    assert [(await store.charge(charge(lease()))).applied for _ in range(2)] == [True] * (
        2 - HELD
    ) + [False]


async def test_the_window_is_read(store: RedisStore) -> None:
    await store.fetch_window("acc_1")
    kept = opened(store.window("acc_1"), NOW_US // SECOND_US)
    assert kept is not None
    assert kept[VOLUME : VOLUME + 3] == (USED, 5 * USED, 6 * USED)


async def test_verifications_under_way_are_read(store: RedisStore) -> None:
    book = VerificationBook(store)
    entry = await book.read(BANNED.account_id)
    assert entry is not None
    assert entry.record == appeal(NOW_US)
    assert await book.commit(entry, msgspec.structs.replace(entry.record, rule="another"))
    assert await book.holders(PROOF) == [verified(NOW_US).account_id]
    assert await book.appeals(most=9) == [BANNED.account_id]
    assert await book.dead(most=9) == [("event_1", b"\x00news")]


async def test_the_linker_takes_over_decisions_orders_and_evidence(store: RedisStore) -> None:
    state = await Snapshots(store, "snapshot").load()
    assert state is not None
    _, graph = unpack_state(state)
    (decision,) = Linker.restore(graph).decisions()
    assert (decision["decision"], decision["accounts"]) == ("pin", ["acc_pinned"])
    ((_, packed),) = await Mailbox(store).letters.read_after(START, most=9)
    letter = read_letter(packed)
    assert letter is not None
    assert (letter.action, letter.reason) == ("freeze", "a fire")
    log = MessageLog(store, "evidence", most=EVIDENCE_MESSAGES)
    ((_, packed),) = await log.read_after(START, most=9)
    message = read_message(packed)
    assert message is not None
    (evidence,) = evidence_of(message)
    assert (evidence.account_id, evidence.keys[0].family) == ("acc_1", "template")
    status = await StatusBoard(store).read()
    assert status is not None
    assert status.accounts == {"watched": 2}


async def test_the_newest_recording_has_every_kind_of_key_that_is_written(valkey: Server) -> None:
    """So that what a version begins to keep is recorded before it is released."""
    prefix = f"t{secrets.token_hex(4)}:"
    one = await open_store(valkey.url, secret_fingerprint=SECRET, prefix=prefix, timeout_s=5.0)
    try:
        await record(one)
        with valkey.client() as client:
            written = {name.removeprefix(prefix) for name in dump(client, prefix)}
    finally:
        await one.wipe()
        await one.aclose()
    recorded = {name.removeprefix(PREFIX) for name in json.loads(VERSIONS[-1].read_text())}
    assert {kind(name) for name in written} == {kind(name) for name in recorded}


def kind(name: str) -> str:
    """Without what differs from run to run: random pseudonyms and generations."""
    head, *rest = name.split(":")
    return head if head == "p" else ":".join([head, *(part for part in rest if len(part) < 16)])


def test_there_is_a_recording_of_this_version() -> None:
    assert FOLDER / f"{__version__}.json" in VERSIONS, "python -m tests.stores.recording"
