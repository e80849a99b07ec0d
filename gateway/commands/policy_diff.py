"""`hydragate policy diff`: whom a change of policy would touch, before it is made."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import orjson

from ..errors import PolicyError, UsageError
from ..model import Policy
from ..policy.diff import Change, Entry, compare, entries
from ..policy.load import load_policy, read_sources
from ..policy.source import Report
from ..workers.account_records import RecordError
from ..workers.feeds import lines_of, open_log
from ..workers.policy_diff import NEWLY, DiffResult, classes_of, diff_policies
from .replay import FILE, TRAFFIC, scenario_options
from .replay_inputs import Asked

POLICY = click.Path(exists=True, path_type=Path)
LABELS = "labels.jsonl"


@click.command()
@click.argument("old", type=POLICY)
@click.argument("new", type=POLICY)
@click.option("--traffic", type=TRAFFIC, help="Traffic log v1 (.jsonl, .gz, .zst), or - for stdin.")
@click.option("--accounts", type=FILE, help="Accounts v1, for --traffic.")
@click.option("--events", type=FILE, help="Account events on the way, for --traffic.")
@scenario_options
@click.option("--labels", type=FILE, help="Class and campaign by account, to count by class.")
@click.option(
    "--examples", type=click.IntRange(0, 1000), default=20, show_default=True, help="At most."
)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def diff(
    old: Path,
    new: Path,
    traffic: Path | None,
    accounts: Path | None,
    events: Path | None,
    scenario: Path | None,
    scale: float,
    days: float | None,
    seed: int | None,
    labels: Path | None,
    examples: int,
    as_json: bool,
) -> None:
    """Compare two policies, as written and on the same traffic.

    Exit code 1 when an exchange that OLD served would be refused by NEW. Without --traffic and
    --scenario only what is written is compared. With --json what keeps a policy from being
    compared is the `problems` of the report, and then there is nothing else in it.
    """
    try:
        policies = load_policy(old), load_policy(new)
    except PolicyError as error:
        if not as_json:
            raise
        click.echo(orjson.dumps({"problems": list(map(asdict, error.problems))}).decode())
        sys.exit(1)
    changes = compare(_entries(old, policies[0]), _entries(new, policies[1]))
    found: dict[str, Any] = {
        "old": _named(policies[0]),
        "new": _named(policies[1]),
        "policy": [asdict(change) for change in changes],
    }
    result = None
    if traffic is not None or scenario is not None:
        asked = Asked(traffic, accounts, events, scenario, scale, days, seed)
        result, class_of = _replayed(asked, policies, labels, examples)
        found["traffic"] = result.tally.as_json(class_of)
    _print(found, changes, result, as_json=as_json)
    if result is not None and (result.is_unusable or result.tally.count(NEWLY)):
        sys.exit(1)


def _replayed(
    asked: Asked, policies: tuple[Policy, Policy], labels: Path | None, examples: int
) -> tuple[DiffResult, Mapping[str, str]]:
    with TemporaryDirectory() as folder, asked.open(labels_dir=Path(folder)) as inputs:
        result = asyncio.run(
            diff_policies(
                *policies,
                feed=inputs.feed,
                accounts=inputs.accounts,
                events=inputs.events,
                max_examples=examples,
                on_progress=_show if sys.stderr.isatty() else None,
            )
        )
        if labels is None and (Path(folder) / LABELS).exists():
            labels = Path(folder) / LABELS
        return result, {} if labels is None else _classes(labels)


def _classes(labels: Path) -> dict[str, str]:
    try:
        with open_log(labels) as file:
            return classes_of(lines_of(file))
    except RecordError as error:
        raise UsageError(f"{labels}: {error}") from None


def _entries(path: Path, policy: Policy) -> dict[Entry, tuple[str, ...]]:
    report = Report()
    sources = read_sources(path, report)
    if sources is None:  # the policy has been loaded from there a moment ago
        raise PolicyError(report.problems)
    return entries(sources, policy)


def _named(policy: Policy) -> dict[str, str]:
    return {"name": policy.name, "revision": policy.revision}


def _show(lines: int) -> None:
    click.echo(f"\r{lines:,} exchanges", nl=False, err=True)


def _print(
    found: Mapping[str, Any], changes: list[Change], result: DiffResult | None, *, as_json: bool
) -> None:
    for problem in () if result is None else result.problems:
        click.echo(str(problem), err=True)
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        return
    for change in changes:
        click.echo(str(change))
    if not changes:
        click.echo("nothing differs in what is written")
    if "traffic" in found:
        _print_traffic(found["traffic"])


def _print_traffic(traffic: Mapping[str, Any]) -> None:
    click.echo(
        f"\n{traffic['exchanges']:,} exchanges of {traffic['accounts']:,} accounts: "
        f"{traffic['refused_before']:,} refused before, {traffic['refused_after']:,} after"
    )
    for kind, touched in traffic["changes"].items():
        click.echo(
            f"\n{kind.replace('_', ' ')}: {touched['exchanges']:,} exchanges "
            f"of {touched['accounts']:,} accounts"
        )
        for rule, count in touched["by_rule"].items():
            click.echo(f"  by {rule}: {count:,}")
        for name, part in touched["by_class"].items():
            everyone = traffic["classes"][name]
            click.echo(
                f"  {name}: {part['exchanges']:,} of {everyone['exchanges']:,} exchanges, "
                f"{part['accounts']:,} of {everyone['accounts']:,} accounts"
            )
    for example in traffic["examples"]:
        before, after = example["before"], example["after"]
        click.echo(
            f"  line {example['line']}, {example['account']}: {before['verdict']} "
            f"({before['reason']}) → {after['verdict']} ({after['reason']})"
        )
