"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """`bad`: the gateway does not start like this, or does not protect what it should."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """`fix` says what to do; empty when there is nothing to do."""

    topic: str
    state: State
    said: str
    fix: str = ""

    def __str__(self) -> str:
        fix = f"\n{'':9}→ {self.fix}" if self.fix else ""
        return f"{self.state.value:8} {self.topic}: {self.said}{fix}"


def ok(topic: str, said: str) -> Finding:
    return Finding(topic, State.OK, said)


def warning(topic: str, said: str, fix: str) -> Finding:
    return Finding(topic, State.WARNING, said, fix)


def bad(topic: str, said: str, fix: str) -> Finding:
    return Finding(topic, State.BAD, said, fix)
