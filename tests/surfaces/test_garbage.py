"""What an exchange allocates is free when it is over: nothing waits for a garbage collection.

Collections stall a serving loop and throw away what is warm; two reference cycles an exchange once
cost a tenth of the CPU.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from gateway import model
from gateway.adapters.guard import Guard
from gateway.adapters.http_server import BoundedProtocol
from gateway.core.keyed import KeyedHash
from gateway.engine import Engine
from gateway.loadtests.servers.valkey import Server
from gateway.model import (
    Charge,
    Correction,
    Cost,
    Effect,
    Quota,
    Route,
    Settlement,
    StepKind,
    Subject,
)
from gateway.stores import open_store
from gateway.stores.memory import MemoryStore
from tests.core.builders import NOW_US, limit, policy
from tests.stores.steps import gcra, lease

TIMES = 40


@contextmanager
def garbage() -> Iterator[list[str]]:
    """The types of what only a collection would have freed, known at the end."""
    found: list[str] = []
    gc.collect()
    gc.disable()
    flags = gc.get_debug()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += [type(one).__name__ for one in gc.garbage]
    finally:
        gc.set_debug(flags)
        gc.garbage.clear()
        gc.enable()


def test_the_instrument_finds_a_cycle() -> None:
    with garbage() as found:
        cycle: list[Any] = []
        cycle.append(cycle)
        del cycle
    assert "list" in found


async def test_calls_to_the_store_leave_no_cycle(valkey: Server) -> None:
    store = await open_store(
        valkey.url, secret_fingerprint="0" * 16, prefix=f"t{secrets.token_hex(4)}:", timeout_s=5.0
    )
    correction = Correction("a:acc_1", "parallel", StepKind.LEASE, Effect.ENFORCE, 1, 1, 1)
    with garbage() as found:
        for n in range(TIMES):
            await store.charge(Charge(f"d{n}", None, 0, (gcra(), lease())))
            await store.settle(Settlement(f"d{n}", (correction,)))
    await store.aclose()
    ours = {"Charge", "Step", "StepResult", "ChargeReply", "Settlement", "Correction", "_Call"}
    assert not ours & set(found)


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    client = scope["extensions"]["hydragate.client"]
    assert client.take_body() is not None
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


async def test_requests_on_a_connection_leave_no_cycle() -> None:
    config = uvicorn.Config(_answer, http=BoundedProtocol, log_config=None, ws="none")
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: BoundedProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    request = b"POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 4\r\n\r\nbody"
    with garbage() as found:
        for _ in range(TIMES):
            writer.write(request)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    writer.close()
    server.close()
    await server.wait_closed()
    assert not {"RequestResponseCycle", "ClientConnection"} & set(found)


class _FixedPolicy:
    current = policy(
        limit("requests"),
        limit("parallel", Quota(4, 0, 4), cost=Cost.CONCURRENCY),
        limit("tokens", Quota(60_000, 60_000_000, 60_000), cost=Cost.TOTAL_TOKENS),
        routes=(Route("chat", frozenset({"POST"}), ("v1", "chat"), "openai", True, "chat"),),
    )


class _SystemClock:
    def now_us(self) -> int:
        return NOW_US


class _Ids:
    def new_id(self, now_us: int) -> str:
        return secrets.token_hex(13)


async def _chat(scope: Any, receive: Any, send: Any) -> None:
    assert (await receive())["body"].startswith(b"{")
    body = b'{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}'
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def test_served_and_refused_exchanges_through_the_guard_leave_no_cycle() -> None:
    keyed, store = KeyedHash(b"a secret of sixteen bytes"), MemoryStore()
    engine = Engine(
        store=store, policies=_FixedPolicy(), clock=_SystemClock(), ids=_Ids(), keyed=keyed
    )
    await store.put(Subject("acc_1"), {keyed.credential(b"sk-1"): "key_1"})
    guard = Guard(_chat, engine=engine)
    answered: list[int] = []

    async def exchange(key: bytes, body: bytes) -> None:
        sent = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            return sent.pop() if sent else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answered.append(message["status"])

        headers = [(b"host", b"gateway"), (b"authorization", b"Bearer " + key)]
        scope = {"type": "http", "method": "POST", "path": "/v1/chat", "raw_path": b"/v1/chat"}
        await guard(
            {**scope, "headers": headers, "query_string": b"", "client": ("192.0.2.1", 1)},
            receive,
            send,
        )

    good = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    with garbage() as found:
        for _ in range(TIMES):
            for key, body in ((b"sk-1", good), (b"sk-2", good), (b"sk-1", b"{")):
                await exchange(key, body)
    assert set(answered) == {200, 400, 401, 429}
    ours = {name for name, one in vars(model).items() if isinstance(one, type)}
    ours |= {"ReadRequest", "AnswerTap", "BodyFacts", "UsageReader", "RequestError", "Known"}
    assert not ours & set(found)
