"""What each family of evidence is worth: scenarios linked with all of them, then without one.

    python -m hydragate.loadtests.ablation loadtests/scenarios/ladders/*.yaml --days 2 --out DIR

A row a scenario and campaign: the share served with everything, and by how many percentage points
it grows without the family (or without all of a block: `relay` stands for every family in it). A
family that costs nothing anywhere when it is taken away has not earned its place.

With --again each scenario is recorded once and its evidence linked again (`linked_again`): a
fraction of the time. The share is then of what came before its account was suspected.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..commands.replay_inputs import Asked
from ..linking.evidence import Block, all_families
from .evaluate import evaluate
from .linked_again import figures, labels_of, link, record, recorded

EVERYTHING = "everything"


def families_of(name: str) -> tuple[str, ...]:
    """A family by its name, or all of a block. Raises click.BadParameter."""
    known = all_families()
    if name in known:
        return (name,)
    found = tuple(one.name for one in known.values() if one.block == name)
    if not found:
        blocks = ", ".join(Block)
        raise click.BadParameter(f"{name}: neither a family ({', '.join(known)}) nor of {blocks}")
    return found


def measured(result: dict[str, Any]) -> dict[str, Any]:
    """Of an evaluation what an ablation compares."""
    figures = result["figures"]
    return {
        "served": {one["name"]: one["served"]["share"] for one in figures["campaigns"]},
        "touched": figures["innocents"]["touched"]["part"],
        "accounts": figures["innocents"]["touched"]["whole"],
    }


def measured_by_replay(
    scenario: Path,
    policy: Path,
    out: Path,
    absences: Mapping[str, tuple[str, ...]],
    days: float | None,
    scale: float,
) -> dict[str, dict[str, Any]]:
    """By absence, `measured`."""
    return {
        name: measured(
            evaluate(scenario, policy, out / name, days, scale, links=True, without=without)
        )
        for name, without in absences.items()
    }


def measured_again(
    scenario: Path,
    policy: Path,
    out: Path,
    absences: Mapping[str, tuple[str, ...]],
    days: float | None,
    scale: float,
) -> dict[str, dict[str, Any]]:
    """As `measured`, of evidence that is recorded in `out` unless it is there."""
    folder = out / scenario.stem
    if not (folder / "summary.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        asked = Asked(None, None, None, scenario, scale, days, None)
        asyncio.run(record(asked, policy, folder))
    labels, found = labels_of(folder), {}
    for name, without in absences.items():
        one = figures(link(recorded(folder), without=without), labels)
        found[name] = {
            "served": one["before_linked"],
            "touched": sum(one["accused"].values()),
            "accounts": one["innocents"],
        }
    return found


def rows_of(scenario: str, found: dict[str, dict[str, Any]]) -> list[str]:
    """One line a campaign: served with everything, then what each absence adds, and whom it
    touches."""
    whole = found[EVERYTHING]
    lines = []
    for campaign, share in whole["served"].items():
        line = f"{scenario:<18}{campaign:<20}{share:>8.2%}{whole['touched']:>4}"
        for name, one in found.items():
            if name != EVERYTHING:
                line += (
                    f"  -{name} {100 * (one['served'][campaign] - share):+.2f} ({one['touched']})"
                )
        lines.append(line)
    return lines


@click.command()
@click.argument("scenarios", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--family", "names", multiple=True, help="Only these families or blocks.")
@click.option("--policy", type=click.Path(exists=True, path_type=Path), default="policies/enforce")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--days", type=float, help="Only so many days of each.")
@click.option("--scale", type=float, default=1.0, show_default=True)
@click.option("--save", type=click.Path(path_type=Path), help="The figures, as JSON.")
@click.option("--again", is_flag=True, help="Record each scenario once and link it again.")
def main(
    scenarios: tuple[Path, ...],
    names: tuple[str, ...],
    policy: Path,
    out: Path,
    days: float | None,
    scale: float,
    save: Path | None,
    again: bool,
) -> None:
    """Run each scenario with every family, and without each in turn."""
    absences = {EVERYTHING: (), **{name: families_of(name) for name in names or all_families()}}
    kept: dict[str, Any] = {"policy": policy.name, "days": days, "scale": scale, "scenarios": {}}
    for scenario in scenarios:
        if again:
            found = measured_again(scenario, policy, out, absences, days, scale)
        else:
            found = measured_by_replay(scenario, policy, out, absences, days, scale)
        kept["scenarios"][scenario.stem] = found
        click.echo("\n".join(rows_of(scenario.stem, found)))
        if save is not None:
            save.parent.mkdir(parents=True, exist_ok=True)
            save.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
