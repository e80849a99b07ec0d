"""Reading a request: what is buffered is counted while it arrives, and given back on every exit."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.adapters.data_plane.checks import CHECK_PREFIX, Checks
from gateway.adapters.data_plane.pending import PendingExchanges
from gateway.adapters.data_plane.reading import CheckReader, original_scope
from gateway.adapters.forward import Target
from gateway.adapters.guard import Guard
from gateway.adapters.reading import ClientLeftError, GuardConfig, RequestReader
from gateway.adapters.upstream.port import Upstream
from gateway.core.keyed import KeyedHash
from gateway.engine import Engine
from gateway.errors import StoreError
from gateway.model import Subject
from gateway.observe.ids import DecisionIds
from gateway.policy.load import PolicyHolder
from gateway.stores.memory import MemoryStore

PATH = "/v1/chat/completions"
KEY = (b"authorization", b"Bearer sk-1")
POLICY = """
version: 1
name: reading
mode: enforce
unknown_credentials: adopt
on_store_error: allow
"""
CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
Receive = Callable[[], Awaitable[dict[str, Any]]]


class _Clock:
    def now_us(self) -> int:
        return 1_776_816_000_000_000


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return engine_of(tmp_path, POLICY)


def engine_of(folder: Path, text: str) -> Engine:
    policy = folder / "policy.yaml"
    policy.write_text(text)
    return Engine(
        store=MemoryStore(lambda: 0),
        policies=PolicyHolder(policy),
        clock=_Clock(),
        ids=DecisionIds(),
        keyed=KeyedHash(b"a secret of the tests of reading"),
    )


def scope_of(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "client": ("203.0.113.7", 1),
        "headers": [(b"host", b"x"), *headers],
    }


def sent(*parts: bytes, is_whole: bool = True) -> Receive:
    """`parts` in their order, then silence; with `is_whole` the last one says that it is."""
    left = list(parts)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left) or not is_whole}

    return receive


def then_left(*parts: bytes) -> Receive:
    arriving = sent(*parts, is_whole=False)
    left = [arriving] * len(parts)

    async def receive() -> dict[str, Any]:
        return await left.pop()() if left else {"type": "http.disconnect"}

    return receive


async def settle() -> None:
    """Every task that can go on has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


def reader_of(engine: Engine, **bounds: Any) -> RequestReader:
    return RequestReader(engine, GuardConfig(**bounds), "proxy")


async def test_what_is_still_arriving_counts_against_the_bound(engine: Engine) -> None:
    reader = reader_of(engine, buffered_limit_bytes=1000)
    arriving = [
        asyncio.ensure_future(reader.read(scope_of(KEY), sent(b" " * 400, is_whole=False)))
        for _ in range(2)
    ]
    await settle()
    assert reader.buffered_bytes == 800
    refused = await reader.read(scope_of(KEY), sent(b" " * 150, b" " * 150))
    assert refused.error is not None
    assert (refused.error.status, refused.error.reason) == (429, "gateway_busy")
    assert reader.buffered_bytes == 800
    for one in arriving:
        one.cancel()
    await asyncio.gather(*arriving, return_exceptions=True)
    assert reader.buffered_bytes == 0


async def test_a_declared_length_takes_no_room_before_its_bytes_come(engine: Engine) -> None:
    reader = reader_of(engine, buffered_limit_bytes=1000)
    declared = scope_of(KEY, (b"content-length", b"900"))
    waiting = asyncio.ensure_future(reader.read(declared, sent(b" ", is_whole=False)))
    await settle()
    assert reader.buffered_bytes == 1
    served = await reader.read(scope_of(KEY), sent(CHAT[:9], CHAT[9:]))
    assert served.error is None
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_body_counts_until_it_is_released(engine: Engine) -> None:
    reader = reader_of(engine)
    request = await reader.read(scope_of(KEY), sent(CHAT[:9], CHAT[9:]))
    assert (request.error, reader.buffered_bytes) == (None, len(CHAT))
    reader.release(request)
    reader.release(request)
    assert reader.buffered_bytes == 0


@pytest.mark.parametrize(
    ("receive", "headers", "reason"),
    [
        pytest.param(sent(b" " * 90, is_whole=False), (), "body_too_slow", id="too-slow"),
        pytest.param(sent(b" " * 90, b" " * 9000), (), "body_too_large", id="too-large"),
        pytest.param(sent(b"{" * 90), (), "malformed_json", id="malformed"),
        pytest.param(
            sent(b"no gzip"), ((b"content-encoding", b"gzip"),), "malformed_encoding", id="no-gzip"
        ),
    ],
)
async def test_a_refused_body_leaves_nothing_behind(
    engine: Engine, receive: Receive, headers: tuple[tuple[bytes, bytes], ...], reason: str
) -> None:
    reader = reader_of(engine, body_limit_bytes=5000, body_timeout_s=0.01)
    request = await reader.read(scope_of(KEY, *headers), receive)
    assert request.error is not None
    assert request.error.reason == reason
    reader.release(request)
    assert reader.buffered_bytes == 0


async def test_a_client_that_leaves_takes_its_bytes_along(engine: Engine) -> None:
    reader = reader_of(engine)
    with pytest.raises(ClientLeftError):
        await reader.read(scope_of(KEY), then_left(b" " * 90, b" " * 90))
    assert reader.buffered_bytes == 0


async def test_a_connection_that_breaks_takes_its_bytes_along(engine: Engine) -> None:
    async def parts() -> AsyncIterator[dict[str, Any]]:
        yield {"type": "http.request", "body": b" " * 90, "more_body": True}
        raise ConnectionResetError

    arriving = parts()
    reader = reader_of(engine)
    with pytest.raises(ConnectionResetError):
        await reader.read(scope_of(KEY), lambda: anext(arriving))
    assert reader.buffered_bytes == 0


async def test_what_grows_beyond_the_bound_is_refused_at_its_true_size(engine: Engine) -> None:
    reader = reader_of(engine, buffered_limit_bytes=2000)
    packed = gzip.compress(b" " * 4000 + CHAT)
    request = await reader.read(scope_of(KEY, (b"content-encoding", b"gzip")), sent(packed))
    assert request.error is not None
    assert request.error.reason == "gateway_busy"
    reader.release(request)
    assert reader.buffered_bytes == 0


async def test_a_part_of_a_body_from_a_data_plane_leaves_nothing_behind(engine: Engine) -> None:
    reader = CheckReader(engine, GuardConfig(), "ext_authz")
    scope = original_scope(
        scope_of(KEY, (b"x-envoy-auth-partial-body", b"true")),
        raw_path=PATH.encode(),
        path=PATH,
        query=b"",
        method="POST",
    )
    request = await reader.read(scope, sent(CHAT))
    assert request.error is not None
    assert request.error.reason == "body_too_large"
    reader.release(request)
    assert reader.buffered_bytes == 0


async def test_a_request_without_a_credential_is_refused_with_its_body_unread(
    engine: Engine,
) -> None:
    async def unread() -> dict[str, Any]:
        raise AssertionError("the body was read")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it was served")

    answer: list[Any] = []

    async def send(message: Any) -> None:
        answer.append(message)

    guard = Guard(app, engine=engine)
    for is_shadow in (False, True):
        await engine.store.set_shadow_all(is_shadow)  # type: ignore[attr-defined]
        await guard({**scope_of(), "extensions": {}}, unread, send)
    assert [one["status"] for one in answer if "status" in one] == [401, 401]
    assert b"missing" in answer[1]["body"] or b"invalid_api_key" in answer[1]["body"]


CALLED = [
    pytest.param((), id="nothing"),
    pytest.param(((b"content-type", b"application/json"),), id="json"),
    pytest.param(((b"content-type", b"application/json; charset=utf-7"),), id="utf-7"),
    pytest.param(((b"content-type", b"application/x-www-form-urlencoded"),), id="curl"),
    pytest.param(((b"content-type", b"multipart/form-data; boundary=x"),), id="multipart"),
]


@pytest.mark.parametrize("called", CALLED)
async def test_what_was_read_as_json_goes_on_as_json_whatever_it_was_called(
    engine: Engine, called: tuple[tuple[bytes, bytes], ...]
) -> None:
    request = await reader_of(engine).read(scope_of(KEY, *called), sent(CHAT))
    assert request.error is None
    types = [value for name, value in request.headers if name == b"content-type"]
    assert types == [b"application/json"]


async def test_a_body_that_is_not_read_keeps_its_type(engine: Engine) -> None:
    scope = scope_of(KEY, (b"content-type", b"multipart/form-data; boundary=x"))
    scope["path"], scope["raw_path"] = "/v1/files", b"/v1/files"
    request = await reader_of(engine).read(scope, sent(b"--x--"))
    assert (b"content-type", b"multipart/form-data; boundary=x") in request.headers


@pytest.mark.parametrize("called", CALLED)
async def test_a_data_plane_is_told_to_call_it_json_too(
    engine: Engine, called: tuple[tuple[bytes, bytes], ...]
) -> None:
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    pending = PendingExchanges(engine.finish, age_us=1)
    target = Target("up", cast(Upstream, None))
    checks = Checks(
        engine=engine, config=GuardConfig(), targets=(target,), pending=pending, index=0
    )
    scope = scope_of(KEY, *called)
    scope["path"], scope["raw_path"] = CHECK_PREFIX + PATH, (CHECK_PREFIX + PATH).encode()
    await checks(scope, sent(CHAT), send)
    assert told[0]["status"] == 200
    assert (b"content-type", b"application/json") in told[0]["headers"]


async def nobody_asks() -> dict[str, Any]:
    raise AssertionError("the body of a key that nobody has was waited for")


async def test_the_body_of_a_key_that_nobody_has_is_not_waited_for(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, POLICY.replace("adopt", "refuse"))
    request = await reader_of(engine).read(scope_of(KEY), nobody_asks)
    assert request.error is not None
    assert (request.error.status, request.error.reason) == (401, "unknown_credential")
    decision = engine.reject(request.facts, request.error)
    assert decision.reason == (await engine.decide(request.facts)).reason


async def test_the_body_of_a_known_key_is_read_where_others_are_refused(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, POLICY.replace("adopt", "refuse"))
    credential = engine.keyed.credential(b"sk-1")
    await engine.store.put(Subject("acc_1"), {credential: "key_1"})  # type: ignore[attr-defined]
    request = await reader_of(engine).read(scope_of(KEY), sent(CHAT[:9], CHAT[9:]))
    assert (request.error, request.body) == (None, CHAT)


async def test_while_the_store_is_away_nobody_is_taken_for_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(tmp_path, POLICY.replace("adopt", "refuse"))

    async def away(credential: str) -> None:
        raise StoreError("unreachable", "away")

    monkeypatch.setattr(engine.store, "resolve", away)
    request = await reader_of(engine).read(scope_of(KEY), sent(CHAT[:9], CHAT[9:]))
    assert (request.error, request.body) == (None, CHAT)
