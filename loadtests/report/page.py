"""The report as one HTML page that needs nothing else, and the plots beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import msgspec

from ..worlds.agreement import Comparison
from . import plots
from .findings import CampaignFound, ClassFound, RunFound
from .style import LOOKS, WIDE_LIGHT, Draw, as_png, as_svg
from .targets import REFUSED_MOST, RUNGS, TOUCHED_MOST
from .words import count, percent, share_text, span

HERE = Path(__file__).parent
# Rows of the table beside a curve; a longer campaign gets wider steps.
MOST_ROWS = 24
OUTCOMES = {
    "met": "met",
    "missed": "MISSED",
    "partly": "met, later target MISSED",
    "unsure": "met, but too few to be sure",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """One plot in every look, as data URIs, in the order of `LOOKS`."""

    name: str
    alt: str
    light: str
    dark: str
    narrow_light: str
    narrow_dark: str


@dataclass(frozen=True, slots=True)
class Step:
    """A row of the table beside a curve: what was sent, and what each run served, from `at`."""

    at: str
    offered: int
    served: list[int | None]


@dataclass(frozen=True, slots=True)
class CampaignView:
    """One campaign over all runs."""

    name: str
    sentences: list[str]
    picture: Picture
    step: str
    steps: list[Step]


class Plots:
    """Draws for the page, and keeps a PNG of each drawing beside it."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self.paths: list[Path] = []

    def picture(self, name: str, alt: str, draw: Draw) -> Picture:
        """In all four looks."""
        self._keep(name, draw)
        return Picture(name, alt, *(as_svg(draw, look) for look in LOOKS))

    def small(self, name: str, alt: str, draw: Draw) -> Picture:
        """For drawings that are narrow anyway: one width, two themes."""
        self._keep(name, draw)
        light, dark = (as_svg(draw, look) for look in (WIDE_LIGHT, LOOKS[1]))
        return Picture(name, alt, light, dark, light, dark)

    def _keep(self, name: str, draw: Draw) -> None:
        path = self._out / f"{name}.png"
        path.write_bytes(as_png(draw))
        self.paths.append(path)


def write_page(
    runs: Sequence[RunFound], out: Path, *, title: str, arrivals: Sequence[Comparison] = ()
) -> list[Path]:
    """`report.html`, a PNG of every plot and `summary.json` into the folder `out`."""
    drawn = Plots(out)
    context = {
        "title": title,
        "runs": runs,
        "campaigns": _campaign_views(runs, drawn),
        "shares": _shares(runs, drawn),
        "innocents": drawn.picture(
            "touched-innocents",
            "Share of accounts of each innocent class that any enforced refusal touched",
            plots.touched_innocents(runs),
        ),
        "classes": [(name, [_class_of(run, name) for run in runs]) for name in _classes(runs)],
        "latency": _latency(runs, drawn),
        "comparisons": [_comparison(one, drawn) for one in arrivals],
        "rungs": list(RUNGS.values()),
        "touched_most": TOUCHED_MOST,
        "refused_most": REFUSED_MOST,
        "outcomes": OUTCOMES,
    }
    page, numbers = out / "report.html", out / "summary.json"
    page.write_text(_template().render(context), encoding="utf-8")
    text = msgspec.json.format(msgspec.json.encode(summary(runs, arrivals)), indent=2)
    numbers.write_bytes(text + b"\n")
    return [page, numbers, *drawn.paths]


def summary(runs: Sequence[RunFound], arrivals: Sequence[Comparison]) -> dict[str, object]:
    """What `summary.json` holds."""
    agreement = [
        {"name": one.name, "unit": one.unit, "ks_distance": round(one.distance, 4)}
        | {"p_value": one.p_value, "traced": len(one.source), "drawn": len(one.drawn)}
        for one in arrivals
    ]
    return {"runs": list(runs), "arrivals": agreement}


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"percent": percent, "share": share_text, "count": count, "span": span}
    return environment.get_template("report.html")


def _campaign_views(runs: Sequence[RunFound], drawn: Plots) -> list[CampaignView]:
    views = []
    for number, name in enumerate(plots.campaign_names(runs), 1):
        found = [plots.find_campaign(run, name) for run in runs]
        longest = max(len(one.course.offered) for one in found if one is not None)
        step = -(-longest // MOST_ROWS)
        bin_s = next(one.course.bin_s for one in found if one is not None)
        views.append(
            CampaignView(
                name,
                [sentence(run.name, one) for run, one in zip(runs, found, strict=True) if one],
                drawn.picture(
                    f"served-{number:02d}",
                    f"Exchanges an hour that {name} sent and each run served",
                    plots.served_over_time(name, runs),
                ),
                span(step * bin_s),
                _steps(found, step, longest, bin_s),
            )
        )
    return views


def _steps(found: list[CampaignFound | None], step: int, longest: int, bin_s: int) -> list[Step]:
    first = next(one for one in found if one is not None)
    return [
        Step(
            span(at * bin_s),
            sum(first.course.offered[at : at + step]),
            [None if one is None else sum(one.course.served[at : at + step]) for one in found],
        )
        for at in range(0, longest, step)
    ]


def sentence(run: str, found: CampaignFound) -> str:
    """What happened to a campaign, in words."""
    text = f"{run}: {percent(found.served.share)} of {count(found.served.whole)} exchanges served"
    if not found.is_containment_measurable:
        text += "; too short (under 24 hours) to say when it was contained"
    elif found.contained_after_h is None:
        text += "; not contained: it was still getting through at the end"
    elif found.contained_after_h == 0:
        text += "; contained from its first hour"
    else:
        hours = found.contained_after_h
        text += f"; contained after {hours} hour{'' if hours == 1 else 's'}"
    if found.found_after_h is not None:
        text += f"; first suspected after {found.found_after_h:.1f} hours"
    return text + "."


def _shares(runs: Sequence[RunFound], drawn: Plots) -> Picture | None:
    if not plots.campaign_names(runs):
        return None
    return drawn.picture(
        "served-shares", "Share of each campaign that was served", plots.served_shares(runs)
    )


def _latency(runs: Sequence[RunFound], drawn: Plots) -> Picture | None:
    if all(run.latency is None for run in runs):
        return None
    return drawn.picture("latency", "Percentiles of answer times", plots.latency(runs))


def _classes(runs: Sequence[RunFound]) -> list[str]:
    return plots.class_names(runs)


def _class_of(run: RunFound, name: str) -> ClassFound | None:
    return next((one for one in [run.innocents, *run.classes] if one.name == name), None)


def _comparison(one: Comparison, drawn: Plots) -> tuple[Comparison, Picture]:
    name = "trace-" + one.name.replace(": ", "-").replace(" ", "-")
    alt = f"Quantiles of {one.name}, drawn against traced"
    return one, drawn.small(name, alt, plots.quantiles(one))
