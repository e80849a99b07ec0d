"""What travels together does not fail together."""

from __future__ import annotations

import asyncio
import secrets

from gateway.errors import StoreError
from gateway.loadtests.servers.valkey import Server
from gateway.model import ChargeReply
from gateway.stores import open_store

from .steps import charge, gcra


async def test_a_request_that_cannot_be_written_fails_alone(valkey: Server) -> None:
    store = await open_store(
        valkey.url, secret_fingerprint="0" * 16, prefix=f"t{secrets.token_hex(4)}:", timeout_s=5.0
    )
    names = ["first", "lone surrogate \ud800", "third"]
    asked = [store.charge(charge(gcra(tag=f"n:{n}"), lease_id=n, now_us=None)) for n in names]
    told = await asyncio.gather(*asked, return_exceptions=True)
    await store.aclose()
    assert isinstance(told[1], StoreError)
    assert told[1].kind == "refused"
    for reply in (told[0], told[2]):
        assert isinstance(reply, ChargeReply)
        assert reply.applied
