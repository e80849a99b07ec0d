"""What a file of rules adds to a policy: scenarios replayed without it and with it.

    python -m hydragate.loadtests.with_rules loadtests/scenarios/ladders/split-10.yaml --days 2 \
        --rules loadtests/policies/collecting/rules.yaml --out DIR

A row a scenario and campaign: the share served without and with, and the innocents that each
touches and refuses. Labels are never read by a replay.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click

from .evaluate import evaluate

COLUMNS = (
    f"{'scenario':<18}{'campaign':<14}{'served':>9}{'with':>9}{'points':>9}"
    f"{'touched':>10}{'with':>7}{'refused':>10}{'with':>10}"
)
SETS = "sets"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def with_rules(policy: Path, rules: Path, out: Path) -> Path:
    """A copy of the policy's folder with the rules beside its own files, and of the sets beside
    the folder. Its cases stay behind, as they are of the policy alone. Raises FileExistsError for a
    name that is there already."""
    shutil.copytree(policy, out, ignore=shutil.ignore_patterns("tests"), dirs_exist_ok=True)
    sets = policy.parent / SETS
    if sets.is_dir():
        shutil.copytree(sets, out.parent / SETS, dirs_exist_ok=True)
    target = out / f"{rules.parent.name}-{rules.name}"
    if (policy / target.name).exists():
        raise FileExistsError(f"{policy} has a file {target.name}")
    shutil.copyfile(rules, target)
    return out


def compared(plain: dict[str, Any], ruled: dict[str, Any]) -> dict[str, Any]:
    """Of two evaluations of one scenario what differs."""
    return {
        "served": {
            one["name"]: [one["served"]["share"], other["served"]["share"]]
            for one, other in zip(
                plain["figures"]["campaigns"], ruled["figures"]["campaigns"], strict=True
            )
        },
        "innocents": plain["figures"]["innocents"]["touched"]["whole"],
        "touched": [_innocents(one, "touched") for one in (plain, ruled)],
        "refused": [_innocents(one, "refused") for one in (plain, ruled)],
    }


def _innocents(result: dict[str, Any], what: str) -> int:
    return int(result["figures"]["innocents"][what]["part"])


def rows_of(scenario: str, found: dict[str, Any]) -> list[str]:
    """One line a campaign; one line where there is none."""
    touched, refused = found["touched"], found["refused"]
    tail = f"{touched[0]:>10}{touched[1]:>7}{refused[0]:>10}{refused[1]:>10}"
    return [
        f"{scenario:<18}{name:<14}{before:>9.2%}{after:>9.2%}{100 * (after - before):>+9.2f}{tail}"
        for name, (before, after) in found["served"].items()
    ] or [f"{scenario:<18}{'–':<14}{'–':>9}{'–':>9}{'–':>9}{tail}"]


@click.command()
@click.argument("scenarios", nargs=-1, required=True, type=FILE)
@click.option("--rules", type=FILE, required=True, help="A policy file that holds the rules.")
@click.option("--policy", type=FOLDER, default="policies/enforce", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--days", type=float, help="Only so many days of each.")
@click.option("--scale", type=float, default=1.0, show_default=True)
@click.option("--save", type=click.Path(path_type=Path), help="The figures, as JSON.")
def main(
    scenarios: tuple[Path, ...],
    rules: Path,
    policy: Path,
    out: Path,
    days: float | None,
    scale: float,
    save: Path | None,
) -> None:
    """Replay each scenario under the policy, and again with the rules beside it."""
    ruled = with_rules(policy, rules, out / "policy")
    kept: dict[str, Any] = {"policy": policy.name, "rules": rules.parent.name}
    kept |= {"days": days, "scale": scale, "scenarios": {}}
    click.echo(COLUMNS)
    for scenario in scenarios:
        first = evaluate(scenario, policy, out / "without", days, scale, links=True)
        second = evaluate(scenario, ruled, out / "with", days, scale, links=True)
        found = kept["scenarios"][scenario.stem] = compared(first, second)
        click.echo("\n".join(rows_of(scenario.stem, found)))
        if save is not None:
            save.parent.mkdir(parents=True, exist_ok=True)
            save.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
