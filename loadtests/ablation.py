"""What each family of evidence is worth: scenarios linked with all of them, then without one.

    python -m hydragate.loadtests.ablation loadtests/scenarios/ladders/*.yaml --days 2 --out DIR

A row a scenario and campaign: the share served with everything, and by how many percentage points
it grows without the family (or without all of a block: `relay` stands for every family in it). A
family that costs nothing anywhere when it is taken away has not earned its place.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..linking.evidence import Block, all_families
from .evaluate import evaluate

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
def main(
    scenarios: tuple[Path, ...],
    names: tuple[str, ...],
    policy: Path,
    out: Path,
    days: float | None,
    scale: float,
    save: Path | None,
) -> None:
    """Run each scenario with every family, and without each in turn."""
    absences = {EVERYTHING: (), **{name: families_of(name) for name in names or all_families()}}
    kept: dict[str, Any] = {"policy": policy.name, "days": days, "scale": scale, "scenarios": {}}
    for scenario in scenarios:
        found: dict[str, dict[str, Any]] = {}
        for name, without in absences.items():
            result = evaluate(
                scenario, policy, out / name, days, scale, links=True, without=without
            )
            found[name] = measured(result)
        kept["scenarios"][scenario.stem] = found
        click.echo("\n".join(rows_of(scenario.stem, found)))
        if save is not None:
            save.parent.mkdir(parents=True, exist_ok=True)
            save.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
