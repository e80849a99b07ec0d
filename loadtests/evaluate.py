"""Scenario after scenario through the linker and a policy: the table of targets, row by row.

    python -m hydragate.loadtests.evaluate loadtests/scenarios/ladders/*.yaml --days 2 --out DIR

Each row is `hydragate replay --scenario` and `hydragate report`; what it prints is read from their
`summary.json`, so that every figure can be made again by hand. Labels are never read by the replay.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from .processes import PACKAGE

COLUMNS = f"{'scenario':<20}{'campaign':<22}{'served':>9}{'innocents touched':>19}{'refused':>10}"


def command(*words: str) -> None:
    """One of ours, in this interpreter; what it says goes to stderr. Raises on failure."""
    subprocess.run([sys.executable, "-m", f"{PACKAGE}.cli", *words], check=True, stdout=sys.stderr)


def evaluate(
    scenario: Path,
    policy: Path,
    out: Path,
    days: float | None,
    scale: float,
    *,
    links: bool,
    without: tuple[str, ...] = (),
) -> dict[str, Any]:
    """One scenario: the figures of its report, and the linker's clusters by size and state."""
    run, report = out / scenario.stem / "run", out / scenario.stem / "report"
    run.mkdir(parents=True, exist_ok=True)
    command(
        *("replay", "--scenario", str(scenario), "--policy", str(policy), "--out", str(run)),
        *(() if days is None else ("--days", str(days))),
        *("--scale", str(scale), "--link" if links else "--no-link"),
        *(word for family in without for word in ("--without", family)),
    )
    command(
        *("report", "--run", f"{policy.name}={run}", "--labels", str(run / "labels.jsonl")),
        *("--line-labels", str(run / "line-labels.jsonl.gz"), "--out", str(report)),
    )
    found = json.loads((report / "summary.json").read_text())["runs"][0]
    lines = (run / "clusters.jsonl").read_text().splitlines()
    clusters = [
        {"state": one["state"], "accounts": len(one["accounts"]), "score": one["score"]}
        for one in map(json.loads, lines)
    ]
    kept = ("policy", "revision", "exchanges", "span_s", "innocents", "framed", "rules", "clusters")
    figures = {name: found[name] for name in kept}
    figures["campaigns"] = [
        {name: value for name, value in campaign.items() if name != "course"}
        for campaign in found["campaigns"]
    ]
    return {"scenario": scenario.stem, "figures": figures, "found": clusters[:20]}


def row(result: dict[str, Any]) -> list[str]:
    figures = result["figures"]
    innocents = figures["innocents"]
    touched, refused = innocents["touched"], innocents["refused"]
    share = refused["part"] / max(1, refused["whole"])
    tail = f"{touched['part']:>10,} of {touched['whole']:<6,}{share:>9.4%}"
    return [
        f"{result['scenario']:<20}{one['name']:<22}{one['served']['share']:>9.2%}{tail}"
        for one in figures["campaigns"]
    ] or [f"{result['scenario']:<20}{'–':<22}{'–':>9}{tail}"]


@click.command()
@click.argument("scenarios", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--policy", type=click.Path(exists=True, path_type=Path), default="policies/enforce")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--days", type=float, help="Only so many days of each.")
@click.option("--scale", type=float, default=1.0, show_default=True)
@click.option("--link/--no-link", "links", default=True)
@click.option("--without", multiple=True, metavar="FAMILY", help="Link without this family.")
@click.option("--save", type=click.Path(path_type=Path), help="The rows, as JSON.")
def main(
    scenarios: tuple[Path, ...],
    policy: Path,
    out: Path,
    days: float | None,
    scale: float,
    links: bool,
    without: tuple[str, ...],
    save: Path | None,
) -> None:
    """Run the scenarios and print served, touched and refused of each."""
    click.echo(COLUMNS)
    results = []
    for scenario in scenarios:
        results.append(evaluate(scenario, policy, out, days, scale, links=links, without=without))
        click.echo("\n".join(row(results[-1])))
        if save is not None:
            save.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
