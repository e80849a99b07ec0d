"""Which server gets which part of a request: one server, or the primaries of a Cluster.

On one server a request is one entry of one script call, all or nothing over all of its tags. In
a Cluster each hash tag is charged on its own node, at the same time; when one tag refuses, what
the others charged is taken back at once, so that a refusal elsewhere never charges a neighbour
(docs/adr/0004-limits-across-slots.md says what may happen in between).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

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
)
from .batch import Batcher
from .keys import Keys, plain
from .scripts import ALL_SOURCES
from .wire import Address, Observe, Wire


class Router(Protocol):
    async def charge(self, charge: Charge) -> ChargeReply: ...
    async def settle(self, settlement: Settlement) -> None: ...
    async def aclose(self) -> None: ...


class SingleRouter:
    """Everything on one server."""

    def __init__(self, wire: Wire, keys: Keys, observe: Observe) -> None:
        self._wire = wire
        self._batcher = Batcher(wire, keys, reads_mode=True, observe=observe)

    async def charge(self, charge: Charge) -> ChargeReply:
        return await self._batcher.charge(charge)

    async def settle(self, settlement: Settlement) -> None:
        await self._batcher.settle(settlement)

    async def aclose(self) -> None:
        await self._wire.aclose()


Discover = Callable[[], Awaitable[dict[int, Address]]]
"""Slot → address of its primary, for every slot that is served."""


class ClusterRouter:
    """The primaries of a Cluster; the slot map is read again when a node says MOVED."""

    def __init__(
        self, keys: Keys, discover: Discover, *, timeout_s: float, observe: Observe
    ) -> None:
        self._keys = keys
        self._discover = discover
        self._timeout_s = timeout_s
        self._observe = observe
        self._slots: dict[int, Address] = {}
        self._nodes: dict[str, tuple[Wire, Batcher]] = {}
        self._refreshing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._refresh()

    async def charge(self, charge: Charge) -> ChargeReply:
        groups = self._groups(charge)
        answers = await asyncio.gather(
            self._shadow_all(),
            *(self._charge_group(slot, part) for slot, (part, _) in groups.items()),
            return_exceptions=True,
        )
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
            return replace(stale, shadow_all=bool(shadow_all))
        return self._merge(charge, parts, replies, bool(shadow_all), applied=not refused)

    async def settle(self, settlement: Settlement) -> None:
        by_slot: dict[int, list[Correction]] = {}
        for correction in settlement.corrections:
            by_slot.setdefault(self._slot(correction.tag), []).append(correction)
        parts = [
            (slot, replace(settlement, corrections=tuple(some))) for slot, some in by_slot.items()
        ]
        outcomes = await asyncio.gather(
            *(self._settle_group(slot, part) for slot, part in parts),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def aclose(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
        for wire, _ in self._nodes.values():
            await wire.aclose()

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
        return {
            slot: (
                replace(
                    charge,
                    account_id=charge.account_id if slot == account_slot else None,
                    steps=tuple(charge.steps[position] for position in positions),
                ),
                positions,
            )
            for slot, positions in steps.items()
        }

    async def _charge_group(self, slot: int, part: Charge) -> ChargeReply:
        reply: ChargeReply = await self._on_node(slot, lambda batcher: batcher.charge(part))
        return reply

    async def _settle_group(self, slot: int, part: Settlement) -> None:
        await self._on_node(slot, lambda batcher: batcher.settle(part))

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

    async def _shadow_all(self) -> bool:
        slot = int(key_slot(self._keys.mode.encode()))
        wire, _ = await self._node(slot)
        return bool(await wire.call("GET", self._keys.mode) == b"shadow-all")

    async def _on_node(self, slot: int, ask: Callable[[Batcher], Awaitable[Any]]) -> Any:
        """Ask the slot's primary; when it has moved, nothing ran, so ask the new one."""
        try:
            _, batcher = await self._node(slot)
            return await ask(batcher)
        except StoreError as error:
            if "MOVED" not in str(error):
                if error.kind == "unreachable":
                    self._refresh_soon()
                raise
        await self._refresh()
        _, batcher = await self._node(slot)
        return await ask(batcher)

    async def _node(self, slot: int) -> tuple[Wire, Batcher]:
        address = self._slots.get(slot)
        if address is None:
            self._refresh_soon()
            raise StoreError("unreachable", f"no primary serves slot {slot}")
        return self._nodes[str(address)]

    def _refresh_soon(self) -> None:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh_quietly())

    async def _refresh_quietly(self) -> None:
        try:
            await self._refresh()
        except StoreError:
            await asyncio.sleep(0.2)

    async def _refresh(self) -> None:
        slots = await self._discover()
        for address in {str(a): a for a in slots.values()}.values():
            if str(address) not in self._nodes:
                wire = Wire(address, timeout_s=self._timeout_s, scripts=ALL_SOURCES)
                await wire.open()
                self._nodes[str(address)] = (
                    wire,
                    Batcher(wire, self._keys, reads_mode=False, observe=self._observe),
                )
        self._slots = slots
        wanted = {str(address) for address in slots.values()}
        for name in [name for name in self._nodes if name not in wanted]:
            wire, _ = self._nodes.pop(name)
            await wire.aclose()


def _undo(step: Step, result: StepResult) -> Correction:
    amount = step.amount if step.kind is StepKind.LEASE else -step.amount
    return Correction(
        step.tag, step.field, step.kind, step.effect, amount, result.level, step.ttl_us
    )
