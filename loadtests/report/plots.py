"""The report's plots. Each function returns a drawing that can be made in any look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)
from numpy.typing import NDArray

from ..worlds.agreement import Comparison
from .findings import CampaignFound, ClassFound, RunFound
from .style import DASHES, Draw, Look
from .tally import HOUR_S
from .targets import RUNGS, TOUCHED_MOST
from .words import percent

Floats = NDArray[np.float64]
DAY_S = 86_400
MOST_BINS = 240
PERCENTILES = ("p50", "p90", "p95", "p99", "p999", "max")


def served_over_time(name: str, runs: Sequence[RunFound]) -> Draw:
    """Exchanges an hour that one campaign sent, and that each run served: what should go flat."""

    def draw(look: Look) -> Figure:
        figure, axes = _figure(look, 2.6 if look.is_narrow else 3.0)
        found = [(i, run, c) for i, run in enumerate(runs) for c in run.campaigns if c.name == name]
        width = _bins_at_once(max(len(c.course.offered) for _, _, c in found))
        clock = _Clock.of(found[0][2].course.bin_s)
        for number, _, campaign in found:
            at, offered = clock.binned(campaign.course.offered, width)
            if number == found[0][0]:
                axes.fill_between(at, offered, step="mid", color=look.faint, alpha=0.45, lw=0)
                axes.plot([], [], color=look.faint, lw=6, label="sent")
            _, served = clock.binned(campaign.course.served, width)
            label = f"served, {runs[number].name}"
            axes.step(at, served, where="mid", color=look.colour(number), label=label,
                      linestyle=DASHES[number % 5], lw=1.8)  # fmt: skip
        axes.set_xlabel(f"{clock.unit} since its first exchange")
        axes.set_ylabel(f"exchanges {clock.rate}")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.yaxis.set_major_formatter(FuncFormatter(_short))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=clock.unit == "days" and at[-1] > 3))
        axes.grid(visible=True, axis="y")
        _legend_above(axes, look, len(found) + 1)
        return figure

    return draw


def served_shares(runs: Sequence[RunFound]) -> Draw:
    """Share of each campaign that each run served, with the row's target."""
    names = campaign_names(runs)

    def draw(look: Look) -> Figure:
        figure, axes = _figure(look, 1.3 + 0.5 * len(names))
        for number, run in enumerate(runs):
            shares = {c.name: c.served.share for c in run.campaigns}
            at = [i + _dodge(number, len(runs)) for i, name in enumerate(names) if name in shares]
            values = [shares[name] or 0.0 for name in names if name in shares]
            axes.barh(at, values, height=0.7 / len(runs), color=look.colour(number), label=run.name)
            for y, value in zip(at, values, strict=True):
                axes.text(min(value, 1.0) + 0.01, y, percent(value), va="center", fontsize=8)
        target = RUNGS[runs[0].rung].served_first
        axes.axvline(target, color=look.ink, lw=1, ls=":", label=f"target {target:.0%}")
        axes.set_yticks(range(len(names)), [wrapped(name, look) for name in names])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.14)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("exchanges served")
        _legend_above(axes, look, len(runs) + 1)
        return figure

    return draw


def touched_innocents(runs: Sequence[RunFound]) -> Draw:
    """Share of each class of innocents with any enforced refusal, with its interval."""
    names = class_names(runs)

    def draw(look: Look) -> Figure:
        figure, axes = _figure(look, 1.4 + 0.34 * (len(names) + 1))
        for number, run in enumerate(runs):
            by_name = {one.name: one for one in [run.innocents, *run.classes]}
            for i, name in enumerate(names):
                if name in by_name:
                    y = i + _dodge(number, len(runs))
                    _interval(axes, y, by_name[name], look.colour(number))
            axes.plot([], [], "o-", color=look.colour(number), label=run.name)
        axes.axvline(TOUCHED_MOST, color=look.ink, lw=1, ls=":", label=f"target {TOUCHED_MOST:.1%}")
        axes.set_xscale("symlog", linthresh=0.001, linscale=0.6)
        axes.set_xlim(-0.0001, 1.2)
        axes.set_xticks([0, 0.001, 0.01, 0.1, 1], ["0", "0.1%", "1%", "10%", "100%"])
        axes.minorticks_off()
        axes.set_yticks(range(len(names)), [wrapped(name, look) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("accounts touched (line: 95% interval)")
        axes.grid(visible=True, axis="x")
        _legend_above(axes, look, len(runs) + 1)
        return figure

    return draw


def latency(runs: Sequence[RunFound]) -> Draw:
    """Percentiles of a live run's answers, from the moment each request was due."""
    live = [(number, run) for number, run in enumerate(runs) if run.latency is not None]

    def draw(look: Look) -> Figure:
        figure, axes = _figure(look, 2.6)
        for number, run in live:
            values = [run.latency["load"]["latency_ms"][p] for p in PERCENTILES]  # type: ignore[index]
            axes.plot(range(len(values)), values, "o-", color=look.colour(number), label=run.name)
        axes.set_xticks(range(len(PERCENTILES)), ["median", "90%", "95%", "99%", "99.9%", "max"])
        axes.set_yscale("log")
        axes.set_ylabel("milliseconds")
        axes.yaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(_short))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(visible=True, axis="y")
        _legend_above(axes, look, len(live))
        return figure

    return draw


def quantiles(comparison: Comparison) -> Draw:
    """Quantiles of what was drawn against those of the trace: on the line where they agree."""
    at = np.linspace(0.01, 0.99, 50)
    source, drawn = np.quantile(comparison.source, at), np.quantile(comparison.drawn, at)

    def draw(look: Look) -> Figure:
        figure = Figure(figsize=(2.9, 2.9), layout="constrained")
        axes = figure.add_subplot()
        ends = [min(source[0], drawn[0]), max(source[-1], drawn[-1])]
        axes.plot(ends, ends, color=look.faint, lw=1)
        axes.plot(source, drawn, ".", color=look.colour(0), ms=4)
        axes.set_title(comparison.name, fontsize=9)
        axes.set_xlabel(f"trace: {comparison.unit}", fontsize=8)
        axes.set_ylabel("drawn", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.set_aspect("equal", adjustable="datalim")
        return figure

    return draw


def campaign_names(runs: Sequence[RunFound]) -> list[str]:
    """Campaigns of any run, in order of their first appearance."""
    return list(dict.fromkeys(campaign.name for run in runs for campaign in run.campaigns))


def class_names(runs: Sequence[RunFound]) -> list[str]:
    """All innocents first, then every class of any run, by name."""
    return ["all innocents", *sorted({one.name for run in runs for one in run.classes})]


def find_campaign(run: RunFound, name: str) -> CampaignFound | None:
    """None where the run had no such campaign."""
    return next((campaign for campaign in run.campaigns if campaign.name == name), None)


def wrapped(name: str, look: Look) -> str:
    """A label cut to what fits beside a plot."""
    most = 16 if look.is_narrow else 34
    return name if len(name) <= most else name[: most - 1] + "…"


def _figure(look: Look, height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(look.width_in, height_in), layout="constrained")
    return figure, figure.add_subplot()


def _legend_above(axes: Axes, look: Look, count: int) -> None:
    columns = min(count, 1 if look.is_narrow else 4)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, borderaxespad=0.2)


def _interval(axes: Axes, y: float, one: ClassFound, colour: str) -> None:
    if one.touched.share is None:
        return
    if one.touched.bounds is not None:
        axes.plot([one.touched.bounds.low, one.touched.bounds.high], [y, y], color=colour, lw=1.6)
    axes.plot([one.touched.share], [y], "o", color=colour, ms=4)


def _dodge(number: int, count: int) -> float:
    return (number - (count - 1) / 2) * 0.7 / count


def _bins_at_once(bins: int) -> int:
    """Single bins for ten days of hours; several together for longer campaigns."""
    return -(-bins // MOST_BINS)


@dataclass(frozen=True, slots=True)
class _Clock:
    """Units of a curve: days and exchanges an hour, or minutes and exchanges a minute."""

    bin_s: int
    unit: str
    rate: str
    unit_s: int
    rate_s: int

    @classmethod
    def of(cls, bin_s: int) -> _Clock:
        if bin_s == HOUR_S:
            return cls(bin_s, "days", "an hour", DAY_S, HOUR_S)
        return cls(bin_s, "minutes", "a minute", 60, 60)

    def binned(self, values: list[int], width: int) -> tuple[Floats, Floats]:
        """(middle of each bin, mean rate in it), of `width` bins at a time."""
        starts = np.arange(0, len(values), width)
        sizes = np.minimum(starts + width, len(values)) - starts
        sums = np.add.reduceat(np.array(values, np.float64), starts)
        at_s = (starts + sizes / 2) * self.bin_s
        return at_s / self.unit_s, sums / (sizes * self.bin_s / self.rate_s)


def _short(value: float, _: object = None) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
