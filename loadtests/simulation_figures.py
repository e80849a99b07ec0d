"""From a ledger to the figures of `simulation.json`, and those figures as a page of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import ceil
from typing import Any

import numpy as np

from .report.containment import Containment, containment
from .worlds.ledger import HOUR_S, CampaignTally, ClassTally, Ledger
from .worlds.schema import RawReacts, RawScript


def figures_of(
    ledger: Ledger,
    reacts: Mapping[str, RawReacts],
    script: RawScript,
    labels: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """`campaigns` and `innocents`. `reacts` by campaign, as the scenario settled them; `labels` of
    all accounts."""
    accounts = Counter(label["class"] for label in labels if label["campaign"] is None)
    return {
        "campaigns": [
            _campaign(name, tally, reacts[name], script) for name, tally in ledger.campaigns.items()
        ],
        "innocents": {
            "all": _innocents(_sum(ledger.classes.values()), accounts.total()),
            "by_class": {
                name: _innocents(tally, accounts[name])
                for name, tally in sorted(ledger.classes.items())
            },
            "strangers_in_mixed_accounts": {
                "exchanges": ledger.strangers.exchanges,
                "refused": ledger.strangers.refused,
            },
        },
    }


def _campaign(
    name: str, tally: CampaignTally, reacts: RawReacts, script: RawScript
) -> dict[str, Any]:
    used, lost = len(tally.used), len(tally.lost)
    proofs = {step: ceil(parts) for step, parts in sorted(tally.proofs.items())}
    verifications = sum(getattr(script.operator, step).price_usd * n for step, n in proofs.items())
    when = _contained(tally)
    return {
        "campaign": name,
        "wanted": tally.wanted,
        "sent": tally.sent,
        "served": {
            "of_wanted": _part(tally.got, tally.wanted),
            "of_sent": _part(tally.served, tally.sent),
        },
        "accounts": {
            "used": used,
            "lost": lost,
            "from_reserve": tally.from_reserve,
            "bought": tally.bought,
            "asked": dict(sorted(tally.asked.items())),
            "verified": dict(sorted(tally.passed.items())),
            "rests": tally.rests,
        },
        "price": {
            "accounts_used": round(used * reacts.account_price, 2),
            "accounts_bought": round(tally.bought * reacts.account_price, 2),
            "proofs": proofs,
            "verifications": round(verifications, 2),
        },
        "sent_per_account": round(tally.sent / used, 2) if used else None,
        "served_per_account": round(tally.served / used, 2) if used else None,
        "suspected_after_h": _after_h(tally.suspected_s, tally.first_s),
        "contained_after_h": when.after_h,
        "containment_is_measurable": when.is_measurable,
        "slower_after_h": _after_h(tally.slowed_s, tally.first_s),
    }


def _contained(tally: CampaignTally) -> Containment:
    """As the report has it, but of what was wanted: who has no account left sends nothing."""
    if not tally.by_hour:
        return Containment(None, is_measurable=False)
    first, last = min(tally.by_hour), max(tally.by_hour)
    rows = np.zeros((last - first + 1, 2), np.int64)
    for hour, counts in tally.by_hour.items():
        rows[hour - first] = counts
    return containment(rows[:, 0], rows[:, 1])


def _after_h(at_s: float | None, first_s: float | None) -> float | None:
    if at_s is None or first_s is None:
        return None
    return round(max(0.0, at_s - first_s) / HOUR_S, 2)


def _part(part: int, whole: int) -> dict[str, Any]:
    return {"part": part, "whole": whole, "share": round(part / whole, 6) if whole else None}


def _innocents(tally: ClassTally, accounts: int) -> dict[str, Any]:
    everyone: set[str] = set().union(*tally.touched.values())
    return {
        "accounts": accounts,
        "exchanges": tally.exchanges,
        "refused": tally.refused,
        "touched": len(everyone),
        "touched_by": {verdict: len(ids) for verdict, ids in sorted(tally.touched.items())},
        "retried": tally.retried,
        "retried_and_served": tally.retried_served,
        "asked": dict(sorted(tally.asked.items())),
        "verified": dict(sorted(tally.passed.items())),
        "minutes_lost": dict(sorted(tally.minutes_lost.items())),
        "gave_up": dict(sorted(tally.gave_up.items())),
        "still_at_it": dict(sorted(tally.waiting.items())),
    }


def _sum(tallies: Iterable[ClassTally]) -> ClassTally:
    whole = ClassTally()
    for tally in tallies:
        whole.exchanges += tally.exchanges
        whole.refused += tally.refused
        whole.retried += tally.retried
        whole.retried_served += tally.retried_served
        for verdict, ids in tally.touched.items():
            whole.touched.setdefault(verdict, set()).update(ids)
        for name in ("asked", "passed", "minutes_lost", "gave_up", "waiting"):
            getattr(whole, name).update(getattr(tally, name))
    return whole


# ── as text ──────────────────────────────────────────────────────────────────────────────────


def page(found: Mapping[str, Any]) -> Iterator[str]:
    """The figures for a reader, line by line; classes that nothing happened to are left out."""
    yield f"{found['exchanges']:,} exchanges, {found['refused']:,} refused"
    for one in found["campaigns"]:
        yield from _campaign_lines(one)
    everybody = found["innocents"]["all"]
    yield (
        f"innocents: {everybody['touched']:,} of {everybody['accounts']:,} accounts touched, "
        f"{everybody['refused']:,} of {everybody['exchanges']:,} exchanges refused"
    )
    for name, one in found["innocents"]["by_class"].items():
        if one["touched"]:
            yield f"  {name}: {_innocent_line(one)}"


def _campaign_lines(one: Mapping[str, Any]) -> Iterator[str]:
    accounts, price, served = one["accounts"], one["price"], one["served"]
    yield f"{one['campaign']}"
    yield (f"  served     {_share(served['of_wanted'])} wanted, {_share(served['of_sent'])} sent")
    yield (
        f"  accounts   {accounts['used']:,} used, {accounts['lost']:,} lost, "
        f"{sum(accounts['verified'].values()):,} verified, "
        f"{accounts['from_reserve']:,} from reserve, {accounts['bought']:,} bought"
    )
    yield (
        f"  price      {price['accounts_used']:,.2f} for accounts, "
        f"{price['verifications']:,.2f} for verifications (assumed units)"
    )
    if accounts["used"]:
        yield f"  an account {one['sent_per_account']} sent, {one['served_per_account']} served"
    contained = _hours(one["contained_after_h"])
    if not one["containment_is_measurable"]:
        contained = "unknown (under a day)"
    yield (
        f"  suspected  {_hours(one['suspected_after_h'])}, contained {contained}, "
        f"slower {_hours(one['slower_after_h'])}"
    )


def _share(part: Mapping[str, Any]) -> str:
    if part["share"] is None:
        return "none of 0"
    return f"{part['share']:.2%} of {part['whole']:,}"


def _hours(after_h: float | None) -> str:
    return "never" if after_h is None else f"after {after_h:g} h"


def _innocent_line(one: Mapping[str, Any]) -> str:
    parts = [f"{one['touched']:,} of {one['accounts']:,} touched", f"{one['refused']:,} refused"]
    if one["retried"]:
        parts.append(f"{one['retried_and_served']:,} of {one['retried']:,} retries served")
    for step, count in one["verified"].items():
        parts.append(f"{count:,} verified {step} in {one['minutes_lost'][step] / count:,.0f} min")
    for what, count in one["gave_up"].items():
        parts.append(f"{count:,} gave up ({what})")
    for step, count in one["still_at_it"].items():
        parts.append(f"{count:,} still verifying {step}")
    return ", ".join(parts)
