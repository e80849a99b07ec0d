"""What a closed loop came to, campaign by campaign and class by class, and what reactions caused.

What is kept grows with accounts, with what is asked of them, and with hours; never with exchanges.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ...model import Level
from .desk import Sent
from .refusals import Refusal

HOUR_S = 3600


@dataclass(slots=True)
class CampaignTally:
    """`wanted` counts contents, `sent` each sending of one, `got` contents that came back with an
    answer of the model. `passed` counts accounts by level, `proofs` what that took; `by_hour` is
    hour since the epoch → [wanted, got]: a campaign without accounts sends nothing and is not
    served for that."""

    wanted: int = 0
    sent: int = 0
    served: int = 0
    got: int = 0
    used: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    proofs: dict[str, Fraction] = field(default_factory=dict)
    rests: int = 0
    from_reserve: int = 0
    bought: int = 0
    slowed_s: float | None = None
    first_s: float | None = None
    suspected_s: float | None = None
    by_hour: dict[int, list[int]] = field(default_factory=dict)

    def want(self, at_s: float) -> None:
        """A content that is to be sent."""
        self.wanted += 1
        self._hour(at_s)[0] += 1

    def get(self, at_s: float) -> None:
        """A content that came back with an answer."""
        self.got += 1
        self._hour(at_s)[1] += 1

    def _hour(self, at_s: float) -> list[int]:
        return self.by_hour.setdefault(int(at_s // HOUR_S), [0, 0])


@dataclass(slots=True)
class ClassTally:
    """`retried` and `retried_served` count exchanges, all else but `exchanges` and `refused`
    accounts; `waiting`: asked so late that the run ended first."""

    exchanges: int = 0
    refused: int = 0
    touched: dict[str, set[str]] = field(default_factory=dict)
    retried: int = 0
    retried_served: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    minutes_lost: Counter[str] = field(default_factory=Counter)
    gave_up: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)


class Ledger:
    """All tallies of a run, and the account events that reactions led to, until they are taken."""

    def __init__(self, end_s: float) -> None:
        self.end_s = end_s
        self.campaigns: dict[str, CampaignTally] = {}
        self.classes: dict[str, ClassTally] = {}
        self.strangers = ClassTally()  # others' exchanges in a campaign's accounts
        self.new_events: list[dict[str, Any]] = []

    def campaign(self, name: str) -> CampaignTally:
        return self.campaigns.setdefault(name, CampaignTally())

    def of_class(self, name: str) -> ClassTally:
        return self.classes.setdefault(name, ClassTally())

    def count(
        self, sent: Sent, refusal: Refusal | None, group: str | None, *, is_suspected: bool
    ) -> None:
        """One exchange that was decided; `group` is the sender's class, None of an operator."""
        if sent.campaign is not None:
            tally = self.campaign(sent.campaign)
            self._count_campaign(sent, tally, refusal)
            if is_suspected and tally.suspected_s is None:
                tally.suspected_s = sent.request.ts
            return
        innocent = self.strangers if group is None else self.of_class(group)
        innocent.exchanges += 1
        if refusal is not None:
            innocent.refused += 1
            touched = innocent.touched.setdefault(refusal.verdict.text, set())
            touched.add(sent.request.account_id)
        elif sent.was_refused:
            innocent.retried_served += 1

    def _count_campaign(self, sent: Sent, tally: CampaignTally, refusal: Refusal | None) -> None:
        if tally.first_s is None:
            tally.first_s = sent.request.ts
        tally.sent += 1
        tally.used.add(sent.request.account_id)
        if refusal is None:
            tally.served += 1
            if sent.failed_s is None:
                tally.get(sent.at_s)

    def happens(self, ts: float, account_id: str, event: str, **more: Any) -> None:
        """An account event at `ts`; what comes after the end of the run never happens."""
        if ts < self.end_s:
            record = {"ts": round(ts, 3), "event": event, "account_id": account_id, **more}
            self.new_events.append(record)

    def passes(self, at_s: float, account_id: str, level: Level, lasts_s: float | None) -> None:
        """The account completes a verification."""
        expires = {} if lasts_s is None else {"expires_at": round(at_s + lasts_s, 3)}
        self.happens(at_s, account_id, "verified", level=level.name.lower(), **expires)

    def take_events(self) -> list[dict[str, Any]]:
        """Those since the last call."""
        taken, self.new_events = self.new_events, []
        return taken
