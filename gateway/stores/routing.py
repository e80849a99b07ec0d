"""Which server gets which part of a request: one server, or the primaries of a Cluster.

On one server a request is one entry of one script call, all or nothing over all of its tags. In
a Cluster each hash tag is charged on its own node, at the same time; when one tag refuses, what
the others charged is taken back at once, so that a refusal elsewhere never charges a neighbour
(docs/adr/0004-limits-across-slots.md says what may happen in between).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

import hiredis
from redis.crc import key_slot

from ..errors import StoreError
from ..model import (
    Charge,
    ChargeReply,
    Correction,
    Effect,
    Settlement,
    Step,
    StepKind,
    StepResult,
    with_changes,
)
from .batch import ONE_LANE, Batcher, Lane, reply_kind
from .keys import Keys, plain
from .scripts import ALL_SOURCES
from .windows import WindowCache
from .wire import Address, Observe, Wire

MAX_TRIES = 5
TRY_AGAIN_S = 0.005
REFRESH_PAUSE_S = 0.2
REDIRECT = re.compile(r"^(MOVED|ASK) \d+ (\S*):(\d+)")


log = logging.getLogger("hydragate.store")


class Router(Protocol):
    windows: WindowCache

    def charge(self, charge: Charge) -> Awaitable[ChargeReply]: ...
    async def settle(self, settlement: Settlement) -> None: ...
    def settle_soon(self, settlement: Settlement) -> None: ...
    async def get(self, name: str) -> bytes | None:
        """A plain read on the fast wire. Raises StoreError."""
        ...

    async def aclose(self) -> None: ...


class SingleRouter:
    """Everything on one server."""

    def __init__(self, wire: Wire, keys: Keys, observe: Observe) -> None:
        self.windows = WindowCache()
        self._wire = wire
        self._batcher = Batcher(wire, keys, self.windows, reads_mode=True, observe=observe)

    def charge(self, charge: Charge) -> Awaitable[ChargeReply]:
        return self._batcher.charge(charge)

    async def settle(self, settlement: Settlement) -> None:
        await self._batcher.settle(settlement)

    def settle_soon(self, settlement: Settlement) -> None:
        self._batcher.settle_soon(settlement)

    async def get(self, name: str) -> bytes | None:
        return await _get(self._batcher, name, ONE_LANE)

    async def aclose(self) -> None:
        await self._batcher.drain()
        await self._wire.aclose()


Discover = Callable[[], Awaitable[dict[int, Address]]]
"""Slot → address of its primary, for every slot that is served."""


class ClusterRouter:
    """The primaries of a Cluster; the slot map is read again when a node says MOVED."""

    def __init__(
        self, keys: Keys, discover: Discover, *, timeout_s: float, observe: Observe
    ) -> None:
        self.windows = WindowCache()
        self._keys = keys
        self._settling: set[asyncio.Task[None]] = set()
        self._discover = discover
        self._timeout_s = timeout_s
        self._observe = observe
        self._slots: dict[int, Address] = {}
        self._nodes: dict[str, Batcher] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._mode: asyncio.Task[bool] | None = None
        self._last_mode = False

    async def open(self) -> None:
        """Raises StoreError unless every primary answers."""
        self._slots = await self._discover()
        await asyncio.gather(*(self._add(a).wire.open() for a in self._addresses().values()))
        self._last_mode = await self._get_mode()

    async def charge(self, charge: Charge) -> ChargeReply:
        groups = self._groups(charge)
        answers: list[Any] = await asyncio.gather(
            self._shadow_all(),
            *(self._begin_charge(slot, part) for slot, (part, _) in groups.items()),
            return_exceptions=True,
        )
        for number, (slot, (part, _)) in enumerate(groups.items(), start=1):
            if isinstance(answers[number], StoreError):
                answers[number] = await self._charge_again(slot, part, answers[number])
        shadow_all, *replies = answers
        failed = next((a for a in answers if isinstance(a, BaseException)), None)
        parts = list(groups.values())
        stale = next((r for r in replies if isinstance(r, ChargeReply) and r.is_stale), None)
        refused = any(isinstance(r, ChargeReply) and not r.applied for r in replies)
        if failed is not None or stale is not None or refused:
            await self._take_back(charge, parts, replies)
        if failed is not None:
            raise failed
        if stale is not None:
            return with_changes(stale, shadow_all=bool(shadow_all))
        return self._merge(charge, parts, replies, bool(shadow_all), applied=not refused)

    async def settle(self, settlement: Settlement) -> None:
        by_slot: dict[int, list[Correction]] = {}
        for correction in settlement.corrections:
            by_slot.setdefault(self._slot(correction.tag), []).append(correction)
        seen, window_slot = settlement.sighting, -1
        if seen is not None:
            window_slot = self._slot(f"a:{seen.account_id}")
            by_slot.setdefault(window_slot, [])
        parts = [
            (
                slot,
                with_changes(
                    settlement,
                    corrections=tuple(some),
                    sighting=seen if slot == window_slot else None,
                ),
            )
            for slot, some in by_slot.items()
        ]
        outcomes = await asyncio.gather(
            *(self._settle_group(slot, part) for slot, part in parts),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def settle_soon(self, settlement: Settlement) -> None:
        """Bounded like everything else that is in flight: by the wires of the nodes."""
        task = asyncio.ensure_future(self._settle_quietly(settlement))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle_quietly(self, settlement: Settlement) -> None:
        with contextlib.suppress(StoreError):
            await self.settle(settlement)

    async def aclose(self) -> None:
        if self._settling:
            await asyncio.wait(self._settling, timeout=1.0)
        if self._refreshing is not None:
            self._refreshing.cancel()
        for node in self._nodes.values():
            await node.wire.aclose()

    # ── one request over several slots ───────────────────────────────────────────────────────

    def _groups(self, charge: Charge) -> dict[int, tuple[Charge, list[int]]]:
        """Slot → (its part of the charge, positions of its steps). The account's part is there
        even without steps, because it validates the subject."""
        steps: dict[int, list[int]] = {}
        account_slot = -1
        if charge.account_id is not None:
            account_slot = self._slot(f"a:{charge.account_id}")
            steps[account_slot] = []
        for position, step in enumerate(charge.steps):
            steps.setdefault(self._slot(step.tag), []).append(position)
        if not steps:  # somebody must tell the time
            steps[int(key_slot(self._keys.mode.encode()))] = []
        return {
            slot: (
                Charge(
                    charge.lease_id,
                    charge.account_id if slot == account_slot else None,
                    charge.version,
                    tuple([charge.steps[position] for position in positions]),
                    charge.now_us,
                ),
                positions,
            )
            for slot, positions in steps.items()
        }

    def _begin_charge(self, slot: int, part: Charge) -> Awaitable[ChargeReply]:
        """Straight to the node where the slot is thought to be: the way of nearly all."""
        node = self._nodes.get(str(self._slots.get(slot)))
        if node is not None:
            return node.charge(part, Lane(slot))
        return self._on_node(slot, lambda node, lane: node.charge(part, lane))

    async def _charge_again(self, slot: int, part: Charge, error: StoreError) -> Any:
        """Where the error says that nothing ran, follow it; else return it."""
        if not _has_not_run(error):
            if error.kind != "refused":
                self._refresh_soon()
            return error
        try:
            return await self._on_node(slot, lambda node, lane: node.charge(part, lane))
        except StoreError as final:
            return final

    async def _settle_group(self, slot: int, part: Settlement) -> None:
        await self._on_node(slot, lambda node, lane: node.settle(part, lane))

    async def get(self, name: str) -> bytes | None:
        found: bytes | None = await self._on_node(
            int(key_slot(name.encode())), lambda node, lane: _get(node, name, lane)
        )
        return found

    async def _take_back(
        self, charge: Charge, parts: list[tuple[Charge, list[int]]], replies: list[Any]
    ) -> None:
        """Undo what the enforced steps of the parts that passed have charged."""
        corrections = [
            _undo(step, result)
            for (part, _), reply in zip(parts, replies, strict=True)
            if isinstance(reply, ChargeReply) and reply.applied
            for step, result in zip(part.steps, reply.results, strict=True)
            if step.effect is Effect.ENFORCE and step.amount > 0
        ]
        if corrections:
            with contextlib.suppress(StoreError):  # it drains by itself; the request is refused
                await self.settle(Settlement(charge.lease_id, tuple(corrections), charge.now_us))

    def _merge(
        self,
        charge: Charge,
        parts: list[tuple[Charge, list[int]]],
        replies: list[Any],
        shadow_all: bool,
        *,
        applied: bool,
    ) -> ChargeReply:
        results: list[StepResult] = [StepResult(True, 0)] * len(charge.steps)
        now_us = charge.now_us or 0
        for (part, positions), reply in zip(parts, replies, strict=True):
            now_us = max(now_us, reply.now_us)
            for position, step, result in zip(positions, part.steps, reply.results, strict=True):
                taken_back = reply.applied and not applied and step.effect is Effect.ENFORCE
                level = result.level - step.amount if taken_back else result.level
                results[position] = StepResult(result.allowed, level)
        return ChargeReply(now_us, tuple(results), applied=applied, shadow_all=shadow_all)

    # ── nodes ────────────────────────────────────────────────────────────────────────────────

    def _slot(self, tag: str) -> int:
        return int(key_slot(plain(tag).encode()))

    def _shadow_all(self) -> asyncio.Future[bool]:
        """The kill switch, read once for all that ask in one turn of the loop."""
        if self._mode is None:
            asyncio.get_running_loop().call_soon(self._forget_mode)  # before the task begins
            self._mode = asyncio.create_task(self._read_mode())
        return asyncio.shield(self._mode)

    def _forget_mode(self) -> None:
        self._mode = None

    async def _read_mode(self) -> bool:
        """While its node is down nobody can turn the switch, so what it was still holds."""
        with contextlib.suppress(StoreError):
            self._last_mode = await self._get_mode()
        return self._last_mode

    async def _get_mode(self) -> bool:
        return await self.get(self._keys.mode) == b"shadow-all"

    async def _on_node(self, slot: int, ask: Callable[[Batcher, Lane], Awaitable[Any]]) -> Any:
        """Ask the slot's primary, and whoever it names instead: a redirected call has not run."""
        address, is_asking = self._slots.get(slot), False
        if address is None:
            self._refresh_soon()
            raise StoreError("unreachable", f"no primary serves slot {slot}")
        for _ in range(MAX_TRIES):
            node = await self._node(address)
            try:
                return await ask(node, Lane(slot, is_asking))
            except StoreError as error:
                redirect = REDIRECT.match(error.detail)
                if redirect is not None:
                    address = replace(
                        address, host=redirect[2] or address.host, port=int(redirect[3])
                    )
                    is_asking = redirect[1] == "ASK"
                    if not is_asking:
                        self._slots[slot] = address
                        self._refresh_soon()
                elif error.detail.startswith("TRYAGAIN"):
                    await asyncio.sleep(TRY_AGAIN_S)
                else:
                    if error.kind != "refused":
                        self._refresh_soon()
                    raise
        raise StoreError("unreachable", f"slot {slot} is on its way to another node")

    async def _node(self, address: Address) -> Batcher:
        node = self._nodes.get(str(address))
        if node is None:
            node = self._add(address)
            node.wire.start()
            await node.wire.connected(self._timeout_s)
        return node

    def _add(self, address: Address) -> Batcher:
        wire = Wire(address, timeout_s=self._timeout_s, scripts=ALL_SOURCES)
        node = Batcher(wire, self._keys, self.windows, reads_mode=False, observe=self._observe)
        self._nodes[str(address)] = node
        return node

    def _addresses(self) -> dict[str, Address]:
        return {str(address): address for address in self._slots.values()}

    def _refresh_soon(self) -> None:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        """Read the slot map again, at most so often; keep the old one while nobody tells."""
        try:
            self._slots = await self._discover()
        except StoreError as error:
            log.warning("the Cluster's slot map cannot be read: %s", error)
        else:
            wanted = self._addresses()
            for name in [name for name in self._nodes if name not in wanted]:
                await self._nodes.pop(name).wire.aclose()
            for name in [name for name in wanted if name not in self._nodes]:
                self._add(wanted[name]).wire.start()
        await asyncio.sleep(REFRESH_PAUSE_S)


def _has_not_run(error: StoreError) -> bool:
    return REDIRECT.match(error.detail) is not None or error.detail.startswith("TRYAGAIN")


async def _get(node: Batcher, name: str, lane: Lane) -> bytes | None:
    reply = await node.wire.call("GET", name, is_asking=lane.is_asking)
    if isinstance(reply, hiredis.ReplyError):
        raise StoreError(reply_kind(str(reply)), str(reply))
    return None if reply is None else bytes(reply)


def _undo(step: Step, result: StepResult) -> Correction:
    amount = step.amount if step.kind is StepKind.LEASE else -step.amount
    return Correction(
        step.tag, step.field, step.kind, step.effect, amount, result.level, step.ttl_us
    )
