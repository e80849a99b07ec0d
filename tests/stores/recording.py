"""Stores as earlier versions left them, byte by byte, and how they came into a file.

A file is never made again once its version is released: later versions must read it as it is.
`python -m tests.stores.recording` makes the one of this version, which is needed when a layout
changes on purpose or something new is kept.
"""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from pathlib import Path
from typing import Any

from gateway import __version__
from gateway.core.window import SIGHTING
from gateway.linking.evidence import Key
from gateway.linking.linker import Evidence
from gateway.loadtests.servers.valkey import server
from gateway.model import SECOND_US, Effect, Settlement, Sighting
from gateway.stores import RedisStore, open_store
from gateway.stores.mailbox import Letter, LinkerStatus, Mailbox, StatusBoard
from gateway.stores.stream import EVIDENCE_MESSAGES, EvidenceSender, MessageLog

from .decided import fill
from .steps import NOW_US, charge, gcra, lease

FOLDER = Path(__file__).parent / "recorded"
SECRET = "5ec2e7"
USED, HELD = 3, 1  # of the limits of `steps`: ten an hour, two at once
PREFIX = "hg:"


async def record(store: RedisStore) -> None:
    """All kinds of keys that there are."""
    await fill(store, NOW_US)
    for number in range(USED):
        steps = (gcra(), gcra("rpm", effect=Effect.SHADOW), *([lease()] if number < HELD else []))
        asked = charge(*steps, lease_id=f"lease-{number}")
        assert (await store.charge(asked)).applied
        sighting = Sighting(
            "acc_1", SIGHTING.pack(NOW_US // SECOND_US, 1, 5, 6, 0, *[255] * 7, 0, 0)
        )
        await store.settle(Settlement(asked.lease_id, (), NOW_US, sighting))
    sender = EvidenceSender(MessageLog(store, "evidence", most=EVIDENCE_MESSAGES))
    sender.offer(Evidence("acc_1", NOW_US, (Key("template", "ab" * 8),), False, None))
    await sender.aclose()
    await Mailbox(store).send(Letter("id", "freeze", "ada", "a fire", NOW_US, NOW_US, {}))
    await StatusBoard(store).write(
        LinkerStatus(NOW_US, "here:1", 1, "0-0", False, {"watched": 1}, {"watched": 2}, 3, 0, 0, 0)
    )


def dump(client: Any, prefix: str = PREFIX) -> dict[str, Any]:
    """Key → what it holds; times to live are left out, all of them lie in the past."""
    return {_text(name): _value(client, name) for name in sorted(client.scan_iter(f"{prefix}*"))}


def _value(client: Any, name: bytes) -> dict[str, Any]:
    kind = client.type(name).decode()
    if kind == "string":
        return {"string": _text(client.get(name))}
    if kind == "hash":
        found = sorted(client.hgetall(name).items())
        return {"hash": [[_text(field), _text(value)] for field, value in found]}
    if kind == "zset":
        return {"zset": [[_text(m), s] for m, s in client.zrange(name, 0, -1, withscores=True)]}
    assert kind == "stream", kind
    return {
        "stream": [
            [at.decode(), [[_text(field), _text(value)] for field, value in fields.items()]]
            for at, fields in client.xrange(name)
        ]
    }


def load(client: Any, held: dict[str, Any]) -> None:
    for text, value in held.items():
        name = _bytes(text)
        ((kind, content),) = value.items()
        if kind == "string":
            client.set(name, _bytes(content))
        elif kind == "hash":
            client.hset(name, mapping={_bytes(f): _bytes(v) for f, v in content})
        elif kind == "zset":
            client.zadd(name, {_bytes(member): score for member, score in content})
        else:
            for at, fields in content:
                client.xadd(name, {_bytes(f): _bytes(v) for f, v in fields}, id=at)


def _text(value: bytes) -> str:
    """Plain where it is plain, so that a reader of the file sees what is there."""
    if value.isascii() and value.decode().isprintable() and not value.startswith(b"="):
        return value.decode()
    return "=" + base64.b64encode(value).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text[1:]) if text.startswith("=") else text.encode()


async def _record_at(url: str) -> None:
    store = await open_store(url, secret_fingerprint=SECRET, timeout_s=5.0)
    try:
        await record(store)
    finally:
        await store.aclose()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as running:
        asyncio.run(_record_at(running.url))
        with running.client() as client:
            held = dump(client)
    path = FOLDER / f"{__version__}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n")
    print(f"{path}: {len(held)} keys")


if __name__ == "__main__":
    main()
