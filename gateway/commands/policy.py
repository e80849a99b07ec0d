"""`hydragate policy`: check it, test it, compare it, publish its schema."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from ..errors import PolicyError
from ..policy.load import check as check_policy
from ..policy.load import load_policy, schema_json
from ..workers.policy_tests import TestReport, run_tests
from .policy_diff import diff

POLICY = click.Path(exists=True, path_type=Path)


@click.group()
def policy() -> None:
    """The life of a policy: check, test, diff, schema."""


@policy.command()
@click.argument("path", type=POLICY)
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def check(path: Path, as_json: bool) -> None:
    """Every mistake with file, line and path; exit code 1 when there is an error."""
    problems = check_policy(path, today=datetime.now(UTC).date())
    errors = [problem for problem in problems if not problem.is_warning]
    if as_json:
        click.echo(orjson.dumps([asdict(problem) for problem in problems]).decode())
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
    if errors:
        sys.exit(1)
    if not as_json:
        loaded = load_policy(path)
        click.echo(
            f"{loaded.name}@{loaded.revision}: {len(loaded.rules)} rules, "
            f"{len(loaded.limits)} limits, {len(loaded.routes)} routes"
        )


@policy.command("test")
@click.argument("path", type=POLICY)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def run_cases(path: Path, as_json: bool) -> None:
    """Run the cases in tests/ of the policy; exit code 1 when one does not hold.

    With --json also what keeps the policy from being tested is in `problems` of the report.
    """
    try:
        report = run_tests(path)
    except PolicyError as error:
        if not as_json:
            raise
        report = TestReport(problems=error.problems)
    if as_json:
        click.echo(orjson.dumps(asdict(report)).decode())
    else:
        for problem in report.problems:
            click.echo(str(problem), err=True)
        click.echo(
            f"{report.cases} cases, {report.requests:,} requests, {len(report.problems)} failed"
        )
        if report.untested:
            click.echo(f"no case makes these speak: {', '.join(report.untested)}")
    if not report.is_passed:
        sys.exit(1)


@policy.command()
def schema() -> None:
    """The JSON Schema of policy files, for editors."""
    click.echo(schema_json(), nl=False)


policy.add_command(diff)
