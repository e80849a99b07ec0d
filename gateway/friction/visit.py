"""An account whose verification is looked at, as it was read."""

from __future__ import annotations

from dataclasses import dataclass

from ..model import Ask, Level, Subject
from .links import Link
from .record import Record


@dataclass(frozen=True, slots=True)
class Entry:
    """An account with its record. `packed` is the stored form of the subject."""

    subject: Subject
    record: Record
    record_version: str
    packed: bytes


@dataclass(frozen=True, slots=True)
class Visit:
    """An account as its page shows it. `steps` is empty when nothing is asked (any more); `ask`
    is the rule that asked, None when the policy no longer has it."""

    token: str
    link: Link
    entry: Entry
    required: Level
    held: Level
    steps: tuple[Level, ...]
    ask: Ask | None

    @property
    def account_id(self) -> str:
        return self.entry.subject.account_id

    @property
    def record(self) -> Record:
        return self.entry.record
