"""The promises of the targets table, one row a rung of difficulty."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from .findings import CampaignFound, ClassFound, Share, TargetFound
from .words import percent

TOUCHED_MOST = 0.001
REFUSED_MOST = 0.0001


@dataclass(frozen=True, slots=True)
class Rung:
    """How hard the campaigns of a scenario make it, and what may then be served."""

    name: str
    title: str
    served_first: float
    served_then: float


RUNGS = {
    rung.name: rung
    for rung in (
        Rung("regimes", "the three disclosed regimes, no evasion", 0.02, 0.005),
        Rung("evasion", "one rung up each evasion ladder", 0.05, 0.02),
        Rung("relay", "organic relay, framing, laundering and other hard cases", 0.10, 0.10),
    )
}


def judge_targets(
    rung: Rung, campaigns: list[CampaignFound], innocents: ClassFound, framed: Share
) -> list[TargetFound]:
    """Every promise of the row that this run could keep or break."""
    found = [judge_share(campaign.name, rung, campaign.served) for campaign in campaigns]
    touched = _target("innocent accounts touched", TOUCHED_MOST, innocents.touched)
    refused = _target("innocent exchanges refused", REFUSED_MOST, innocents.refused)
    if refused.measured == 0 and touched.outcome == "unsure":
        # No exchange was refused because no account was touched: as sure as that, and no surer.
        refused = msgspec.structs.replace(refused, outcome="unsure", note=touched.note)
    found += [touched, refused]
    if framed.whole:
        # A victim is one account of one campaign: no share to hide behind, and no chance.
        found.append(
            _target("framed victims refused", 0.0, msgspec.structs.replace(framed, bounds=None))
        )
    return found


def judge_share(campaign: str, rung: Rung, served: Share) -> TargetFound:
    """What may be served of a campaign at this rung."""
    what = f"{campaign}: exchanges served"
    return _target(what, rung.served_first, served, later=rung.served_then)


def _target(what: str, most: float, share: Share, *, later: float | None = None) -> TargetFound:
    later = most if later is None else later
    if share.share is None:
        note = "nothing of the kind in this run"
        return TargetFound(what, most, later, None, "not measured", note)
    if share.share > most:
        return TargetFound(what, most, later, share.share, "missed")
    if share.bounds is not None and share.bounds.high > most:
        note = f"too few to be sure: up to {percent(share.bounds.high)} could be behind it"
        return TargetFound(what, most, later, share.share, "unsure", note)
    return TargetFound(what, most, later, share.share, "met" if share.share <= later else "partly")
