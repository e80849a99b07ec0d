"""What the report says about one run, in numbers: the structs that become `summary.json`.

Shares are 0 to 1, `None` where there was nothing to share. No account is named in any of them.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Bounds(msgspec.Struct, frozen=True):
    """A 95 % interval and how it was found."""

    low: float
    high: float
    method: str


class Share(msgspec.Struct, frozen=True):
    """`part` of `whole`; `bounds` where something can be said about chance."""

    part: int
    whole: int
    share: float | None
    bounds: Bounds | None = None


class Course(msgspec.Struct, frozen=True):
    """A campaign by bins of `bin_s` seconds, from its first: exchanges sent and their fate."""

    bin_s: int
    offered: list[int]
    served: list[int]
    would_serve: list[int]


class CampaignFound(msgspec.Struct, frozen=True):
    """What got through of one campaign."""

    name: str
    accounts: int  # labelled as its own
    accounts_seen: int  # of these, with exchanges
    accounts_refused: int  # of these, with at least one enforced refusal
    busiest_account_per_day: float
    served: Share
    would_serve: Share  # if what is in shadow were enforced
    contained_after_h: int | None
    is_containment_measurable: bool
    found_after_h: float | None
    course: Course


class ClassFound(msgspec.Struct, frozen=True):
    """What happened to one class of innocents, or to all of them."""

    name: str
    accounts: int  # with exchanges
    touched: Share  # accounts with any enforced verdict but allow
    would_touch: Share  # the same, shadow included
    refused: Share  # exchanges


class RuleFound(msgspec.Struct, frozen=True):
    """Refused exchanges by the rule that decided them."""

    rule: str
    campaign: int
    innocent: int


class Precision(msgspec.Struct, frozen=True):
    """Precision, recall and their harmonic mean, 0 to 1."""

    precision: float | None
    recall: float | None
    f1: float | None


class ClustersFound(msgspec.Struct, frozen=True):
    """How the clusters agree with the campaigns."""

    by_state: dict[str, int]
    accounts_scored: int
    b_cubed: Precision
    pairs: Precision
    accounts: Precision


class TargetFound(msgspec.Struct, frozen=True):
    """One promise and what came of it: met, missed, `partly` where only the target of the first
    version is met, or `unsure` where chance could have met it."""

    what: str
    target: float
    later: float  # the target of later versions; the same where there is none
    measured: float | None
    outcome: str
    note: str = ""


class RunFound(msgspec.Struct, frozen=True):
    """One run: a policy over one stream of traffic."""

    name: str
    policy: str
    revision: str
    rung: str
    exchanges: int
    bad_lines: int
    span_s: int
    campaigns: list[CampaignFound]
    classes: list[ClassFound]
    innocents: ClassFound
    framed: Share  # innocent accounts whose content a campaign copies: those touched
    mixed: Share  # strangers' exchanges refused inside accounts that a campaign uses as well
    accounts: Precision  # of the accounts ever refused, those of campaigns; and the reverse
    rules: list[RuleFound]
    clusters: ClustersFound | None
    targets: list[TargetFound]
    machine: dict[str, Any]  # exchanges per second, peak memory: of the replay itself
    latency: dict[str, Any] | None = None  # of a live run: see `loadtests/live`
