"""Out of one store into a file, and out of a file into another store.

Export reads while gateways go on writing: each account is as it was at some instant of the export.
"""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ..errors import StoreError
from ..linking.linker import Linker
from ..ports import Clock
from ..stores import RedisStore
from ..stores.mailbox import MAX_LETTER_BYTES, Letter, Mailbox, read_letter
from ..stores.snapshots import Snapshots
from ..stores.state import StateBook
from .linker_orders import ACTIONS
from .linker_state import Progress, unpack_state
from .state_file import StateFileError, StateWriter, records

SNAPSHOT_TRIES = 5
ORDERS_LOOKED_AT = 1_024


@dataclass(slots=True)
class Exported:
    """`missing` says in words what could not be taken along."""

    missing: list[str] = field(default_factory=list)


async def export(store: RedisStore, writer: StateWriter) -> Exported:
    """Everything but the checksum. Raises StoreError, OSError."""
    book, exported = StateBook(store), Exported()
    async for record in book.accounts():
        writer.add(record)
    async for record in book.proofs():
        writer.add(record)
    async for record in book.waiting():
        writer.add(record)
    for decision in await _decisions(store, exported):
        writer.add({"kind": "decision", **decision})
    writer.add({"kind": "mode", "shadow_all": await store.is_shadow_all()})
    return exported


async def _decisions(store: RedisStore, exported: Exported) -> list[dict[str, Any]]:
    """What people decided about clusters, out of the linker's last snapshot."""
    try:
        state = await _snapshot(store)
        progress, graph = (Progress(), None) if state is None else unpack_state(state)
        decisions = [] if graph is None else Linker.restore(graph).decisions()
    except (StoreError, ValueError) as error:
        exported.missing.append(f"decisions about clusters: {error}")
        return []
    waiting = await _orders_behind(store, progress.commands)
    if waiting:
        exported.missing.append(
            f"{waiting} orders about clusters that no linker has obeyed yet: let one lead, "
            "and export again"
        )
    return decisions


async def _snapshot(store: RedisStore) -> bytes | None:
    """One that is replaced while it is read looks damaged, so it is read again."""
    snapshots = Snapshots(store, "snapshot")
    for _ in range(SNAPSHOT_TRIES - 1):
        try:
            return await snapshots.load()
        except StoreError as error:
            if error.kind != "refused":
                raise
    return await snapshots.load()


async def _orders_behind(store: RedisStore, position: str) -> int:
    found = await Mailbox(store).letters.read_after(position, most=ORDERS_LOOKED_AT)
    letters = [read_letter(packed) for _, packed in found]
    return sum(
        one is not None and one.action in ACTIONS and ACTIONS[one.action].changes for one in letters
    )


@dataclass(frozen=True, slots=True)
class Hand:
    """Who imports, and why; kept with the decisions."""

    by: str
    reason: str


async def import_file(
    store: RedisStore, path: Path, *, clock: Clock, hand: Hand, replace: bool
) -> Counter[str]:
    """Write a file that `read_head` found sound; how many of each kind. Raises StateFileError
    when the store holds accounts and `replace` does not allow that, StoreError."""
    book, counts = StateBook(store), Counter[str]()
    if not replace and await book.has_accounts():
        raise StateFileError(
            "the store holds accounts: with --replace those of the file are made what the file "
            "says (bans and grants given since its export are lost), and others stay as they are"
        )
    decisions: list[dict[str, Any]] = []
    for record in records(path):
        counts[record["kind"]] += 1
        if record["kind"] == "decision":
            decisions.append({name: value for name, value in record.items() if name != "kind"})
        elif record["kind"] == "mode":
            await store.set_shadow_all(bool(record["shadow_all"]))
        else:
            await book.put(record)
    await _send_decisions(store, decisions, clock=clock, hand=hand)
    return counts


async def _send_decisions(
    store: RedisStore, decisions: list[dict[str, Any]], *, clock: Clock, hand: Hand
) -> None:
    """As orders: they hold once a linker leads, and are kept until then."""
    mailbox, now_us = Mailbox(store), clock.now_us()
    for part in _parts(decisions):
        letter = Letter(
            *(secrets.token_hex(12), "import", hand.by, hand.reason, now_us, now_us),
            {"decisions": part},
        )
        await mailbox.send(letter)


def _parts(decisions: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Each small enough for a letter; one alone that is not is refused when it is sent."""
    parts: list[list[dict[str, Any]]] = []
    room = 0
    for decision in decisions:
        size = len(msgspec.msgpack.encode(decision))
        if not parts or size > room:
            parts.append([])
            room = MAX_LETTER_BYTES // 2
        parts[-1].append(decision)
        room -= size
    return parts
