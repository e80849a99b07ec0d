"""What the demo found, in words. The page and the plots are those of every report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..driver import LoadResult
from .scene import RUNAWAY


@dataclass(frozen=True, slots=True)
class Added:
    """The same requests with and without the gateway, in turn."""

    direct: LoadResult
    through: LoadResult

    def added_ms(self, percentile: str) -> float:
        """The difference between the two percentiles, such as `p50`."""
        direct, through = self.direct.latencies.as_ms(), self.through.latencies.as_ms()
        return round(through[percentile] - direct[percentile], 3)

    def as_json(self) -> dict[str, Any]:
        """All percentiles, and the differences of two."""
        return {
            "direct_ms": self.direct.latencies.as_ms(),
            "through_ms": self.through.latencies.as_ms(),
            "added_ms": {name: self.added_ms(name) for name in ("p50", "p99")},
        }


def text(
    run: dict[str, Any], added: Added, *, paths: Sequence[Path], why: Sequence[str] = ()
) -> str:
    """The report as it is printed; `run` is one of `summary.json`'s, `why` what the linker says
    of its first cluster."""
    latency = run["latency"]
    lines = [
        "",
        f"Containment report · policy {run['policy']} · {latency['seconds']:.0f} s, "
        f"{latency['compression']:g} times as fast as the world",
        "",
        f"  {'':30}{'accounts':>9}{'requests':>10}{'served':>9}{'refused accounts':>18}",
        *map(_row, _groups(run)),
        "",
        *_verdict(run),
        *(["", "Why they are linked:", *(f"  {line}" for line in why)] if why else []),
        "",
        "Latency added by the gateway (same requests, in turn): "
        f"median {added.added_ms('p50'):.2f} ms, p99 {added.added_ms('p99'):.2f} ms.",
        "",
        "The campaign is made up. It has the shape of one in a vendor's allegations (Anthropic,",
        "September 2026), which nobody has audited and the accused contest. Accounts and labels",
        "are ours; nothing here says that anybody did it.",
        "",
        f"Written to {paths[0].parent}:",
        *(f"  {path.name}" for path in paths),
    ]
    return "\n".join(lines)


def _groups(run: dict[str, Any]) -> list[tuple[str, int, int, int, int]]:
    """(name, accounts, requests, served, accounts refused)."""
    rows = []
    classes = {one["name"]: one for one in run["classes"]}
    runaway = classes.pop(RUNAWAY, None)
    customers = [_customers(one) for one in classes.values()]
    rows.append(("customers", *(sum(column) for column in zip(*customers, strict=True))))
    if runaway is not None:
        rows.append(("one runaway script", *_customers(runaway)))
    for one in run["campaigns"]:
        served = one["served"]
        name = f"campaign {one['name']}"
        rows.append(
            (name, one["accounts_seen"], served["whole"], served["part"], one["accounts_refused"])
        )
    return rows


def _customers(one: dict[str, Any]) -> tuple[int, int, int, int]:
    refused = one["refused"]
    return (
        one["accounts"],
        refused["whole"],
        refused["whole"] - refused["part"],
        one["touched"]["part"],
    )


def _row(row: tuple[str, int, int, int, int]) -> str:
    name, accounts, requests, served, refused = row
    share = f"{served / requests:.1%}" if requests else "–"
    return f"  {name:30}{accounts:>9,}{requests:>10,}{share:>9}{refused:>18,}"


def _verdict(run: dict[str, Any]) -> list[str]:
    served = sum(one["served"]["part"] for one in run["campaigns"])
    whole = sum(one["served"]["whole"] for one in run["campaigns"])
    if not whole:
        return ["No campaign exchange fell into the time that was sent."]
    if run["clusters"] is None:
        return [
            f"Rules and limits on single accounts served {served / whole:.1%} of the campaign:",
            "each of its accounts is quieter than an ordinary customer. The unit of analysis is",
            "the cluster; this version decides, limits, counts and explains single accounts.",
        ]
    accused = sum(run["clusters"]["by_state"].get(state, 0) for state in ("suspected", "confirmed"))
    if not accused:
        return [
            f"{served / whole:.1%} of the campaign was served, and its accounts were not linked:",
            "each is quieter than an ordinary customer, and a minute showed too little of them.",
        ]
    if not any(one["accounts_refused"] for one in run["campaigns"]):
        return [
            f"{served / whole:.1%} of the campaign was served: its accounts were seen as one hand",
            "only when nearly all of it was sent. Each is quieter than an ordinary customer.",
        ]
    precision = run["accounts"]["precision"] or 0.0
    return [
        f"{served / whole:.1%} of the campaign was served, until its accounts were seen as one",
        "hand. No limit on a single account sees them: each is quieter than a customer.",
        f"Of the accounts that were refused {precision:.1%} were the campaign's.",
    ]
