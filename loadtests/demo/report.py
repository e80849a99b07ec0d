"""What the demo found, in words, JSON and plots. No address or key in clear."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..driver import LoadResult, Outcome, Shot
from .scene import CAMPAIGN, CUSTOMER, RUNAWAY, Scene

BIN_S = 1.0
NAMES = {
    CUSTOMER: "ordinary customers",
    RUNAWAY: "one runaway script",
    CAMPAIGN: "the campaign",
}


@dataclass(slots=True)
class Tally:
    """Collects every answer by who asked."""

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    served_at: dict[str, list[float]] = field(default_factory=dict)
    refused_at: dict[str, list[float]] = field(default_factory=dict)
    per_account: dict[str, Counter[str]] = field(default_factory=dict)
    refused_accounts: dict[str, set[str]] = field(default_factory=dict)
    a_refusal: str | None = None  # one decision id, to explain

    def add(self, shot: Shot, outcome: Outcome) -> None:
        kind, _, account = shot.tag.partition(" ")
        self.statuses.setdefault(kind, Counter())[outcome.status] += 1
        self.per_account.setdefault(kind, Counter())[account] += 1
        is_served = outcome.status == 200
        times = self.served_at if is_served else self.refused_at
        times.setdefault(kind, []).append(shot.due_s)
        if not is_served:
            self.refused_accounts.setdefault(kind, set()).add(account)
            found = dict(outcome.headers).get(b"x-hydragate-decision")
            if found is not None:
                self.a_refusal = found.decode()


@dataclass(frozen=True, slots=True)
class Added:
    """The same requests with and without the gateway, in turn."""

    direct: LoadResult
    through: LoadResult

    def as_json(self) -> dict[str, Any]:
        direct, through = self.direct.latencies, self.through.latencies
        return {
            "direct_ms": direct.as_ms(),
            "through_ms": through.as_ms(),
            "added_ms": {
                name: round(through.as_ms()[name] - direct.as_ms()[name], 3)
                for name in ("p50", "p99")
            },
        }


def summary(
    scene: Scene, tally: Tally, load: LoadResult, added: Added, policy: str
) -> dict[str, Any]:
    groups = {}
    for kind in (CUSTOMER, RUNAWAY, CAMPAIGN):
        statuses = tally.statuses.get(kind, Counter())
        total = sum(statuses.values())
        groups[kind] = {
            "accounts": len(scene.of(kind)),
            "requests": total,
            "served": statuses[200],
            "served_share": round(statuses[200] / total, 4) if total else None,
            "statuses": {str(status): count for status, count in sorted(statuses.items())},
            "accounts_refused": len(tally.refused_accounts.get(kind, ())),
            "most_requests_of_one_account": max(
                tally.per_account.get(kind, Counter()).values(), default=0
            ),
        }
    return {
        "policy": policy,
        "duration_s": scene.duration_s,
        "groups": groups,
        "load": load.as_json(),
        "latency": added.as_json(),
    }


def text(found: dict[str, Any], plots: Sequence[Path], out: Path) -> str:
    """The report as it is printed."""
    lines = [
        "",
        f"Containment report · policy {found['policy']} · {found['duration_s']:.0f} s in real time",
        "",
        f"  {'':24}{'accounts':>9}{'requests':>10}{'served':>9}{'refused accounts':>18}",
    ]
    for kind, group in found["groups"].items():
        share = group["served_share"]
        lines.append(
            f"  {NAMES[kind]:24}{group['accounts']:>9,}{group['requests']:>10,}"
            f"{'–' if share is None else f'{share:.1%}':>9}{group['accounts_refused']:>18,}"
        )
    campaign = found["groups"][CAMPAIGN]
    added = found["latency"]["added_ms"]
    lines += [
        "",
        f"Per-account limits served {campaign['served_share']:.1%} of the campaign. Its busiest "
        f"account sent {campaign['most_requests_of_one_account']} in all,",
        "far below any limit that honest callers could live with.",
        "No per-account limit can see it; the unit of analysis is the cluster. This version",
        "decides, limits, counts and explains single accounts; linking them is the next step.",
        "",
        f"Latency added by the gateway (same requests, in turn): median {added['p50']:.2f} ms, "
        f"p99 {added['p99']:.2f} ms.",
        "",
        "The campaign has the shape of one that a vendor alleged (Anthropic, September 2026); the",
        "accused contest such figures. Grouping requests into accounts and campaigns is ours.",
        "",
        f"Written to {out}:",
        *(f"  {path.name}" for path in (*plots, out / "summary.json")),
    ]
    return "\n".join(lines)


def write(found: dict[str, Any], tally: Tally, added: Added, out: Path) -> list[Path]:
    """`summary.json` and three plots; returns the plots' paths."""
    (out / "summary.json").write_text(json.dumps(found, indent=2) + "\n")
    import matplotlib as mpl

    mpl.use("Agg")
    return [
        _plot_served(found, tally, out / "served.png"),
        _plot_rates(found, tally, out / "requests-per-account.png"),
        _plot_latency(added, out / "latency-added.png"),
    ]


def _plot_served(found: dict[str, Any], tally: Tally, path: Path) -> Path:
    from matplotlib import pyplot as plt

    kinds = (CUSTOMER, RUNAWAY, CAMPAIGN)
    figure, axes = plt.subplots(len(kinds), 1, figsize=(9, 7), sharex=True)
    bins = [i * BIN_S for i in range(int(found["duration_s"] / BIN_S) + 2)]
    for axis, kind in zip(axes, kinds, strict=True):
        served, refused = tally.served_at.get(kind, []), tally.refused_at.get(kind, [])
        axis.hist(
            [served, refused],
            bins=bins,
            stacked=True,
            color=("#2a7f62", "#c8553d"),
            label=("served", "refused"),
        )
        axis.set_ylabel("requests/s")
        count = found["groups"][kind]["accounts"]
        accounts = f"{count:,} account{'' if count == 1 else 's'}"
        axis.set_title(f"{NAMES[kind]} ({accounts})", loc="left")
    axes[0].legend(frameon=False, ncols=2, loc="upper right")
    axes[-1].set_xlabel("seconds")
    figure.suptitle("What per-account limits let through")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def _plot_rates(found: dict[str, Any], tally: Tally, path: Path) -> Path:
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(9, 4.5))
    minutes = found["duration_s"] / 60
    for kind, colour in ((CUSTOMER, "#4c72b0"), (RUNAWAY, "#8c6bb1"), (CAMPAIGN, "#c8553d")):
        counts = sorted(tally.per_account.get(kind, Counter()).values(), reverse=True)
        rates = [count / minutes for count in counts]
        axis.plot(
            range(1, len(rates) + 1),
            rates,
            drawstyle="steps-mid",
            marker="o" if len(rates) == 1 else "",
            color=colour,
            label=NAMES[kind],
            lw=2,
        )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("account, busiest first")
    axis.set_ylabel("requests a minute")
    axis.set_title("Each account of the campaign is quieter than an ordinary customer", loc="left")
    axis.legend(frameon=False)
    axis.grid(visible=True, which="major", alpha=0.25)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def _plot_latency(added: Added, path: Path) -> Path:
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(9, 4.5))
    shares = [i / 200 for i in range(1, 200)]
    for name, result, colour in (
        ("direct", added.direct, "#4c72b0"),
        ("through the gateway", added.through, "#2a7f62"),
    ):
        values = [result.latencies.quantile(share) * 1000 for share in shares]
        axis.plot(values, shares, label=name, color=colour, lw=2)
    axis.set_xlabel("milliseconds")
    axis.set_ylabel("share of requests")
    axis.set_title("The same requests with and without the gateway", loc="left")
    axis.legend(frameon=False)
    axis.grid(visible=True, alpha=0.25)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path
