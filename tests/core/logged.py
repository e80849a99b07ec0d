"""An engine at a fixed instant that keeps what it decides as lines of the log."""

from __future__ import annotations

from gateway.core.keyed import KeyedHash
from gateway.engine import Engine
from gateway.model import Exchange, Policy
from gateway.observe.log_line import LineEncoder
from gateway.stores.memory import MemoryStore

from .builders import NOW_US


class _Fixed:
    def __init__(self, policy: Policy) -> None:
        self.current = policy

    def now_us(self) -> int:
        return NOW_US

    def new_id(self, now_us: int) -> str:
        return "d" * 26


class _Lines:
    def __init__(self, keyed: KeyedHash, policy: Policy) -> None:
        self._encoder, self._policy = LineEncoder(keyed), policy
        self.lines: list[bytes] = []

    def record(self, exchange: Exchange) -> None:
        self.lines.append(self._encoder.encode(exchange, self._policy))


def logging_engine(
    policy: Policy, store: MemoryStore, secret: bytes, *, event_time: bool = False
) -> tuple[Engine, list[bytes]]:
    """The engine, and the lines as they come."""
    fixed, keyed = _Fixed(policy), KeyedHash(secret)
    kept = _Lines(keyed, policy)
    engine = Engine(
        store=store,
        policies=fixed,
        clock=fixed,
        ids=fixed,
        keyed=keyed,
        recorders=(kept,),
        event_time=event_time,
    )
    return engine, kept.lines
