"""`hydragate log`: the decision log for those who ask it more than `explain` does."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
import orjson

from ..errors import UsageError
from .instants import instant_us

LOG_DIR = Path(".hydragate") / "log"


@click.group()
def log() -> None:
    """The decision log, in another form."""


@log.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--log",
    "source",
    type=click.Path(exists=True, path_type=Path),
    default=LOG_DIR,
    show_default=True,
    help="The log's folder, or one file of it.",
)
@click.option("--since", help="Arrived from then on: 30m, 6h, 2d ago, or 2026-04-22T08:00:00Z.")
@click.option("--until", help="Arrived before then.")
@click.option("--json", "as_json", is_flag=True, help="Print what was read and written.")
def export(file: Path, source: Path, since: str | None, until: str | None, as_json: bool) -> None:
    """Write the decision log to a new Parquet FILE, a row a request, nothing left out. Gateways
    may go on meanwhile. Needs the extra: pip install "hydragate[export]".

    Exit code 1 when over 1 % of the lines are bad or an archive is broken; FILE has the others.
    """
    try:
        from ..workers.log_export import export_log
    except ImportError as error:
        raise UsageError(f"{error}: pip install 'hydragate[export]'") from None
    now_s = time.time()
    done = export_log(
        source,
        file,
        since_us=None if since is None else instant_us("--since", since, now_s),
        until_us=None if until is None else instant_us("--until", until, now_s),
        on_progress=_show if sys.stderr.isatty() else None,
    )
    report = done.report
    for problem in report.problems:
        click.echo(str(problem), err=True)
    if as_json:
        told = {"rows": done.rows, "lines": report.lines, "bad": report.bad}
        click.echo(orjson.dumps(told).decode())
    else:
        click.echo(f"{file}: {done.rows:,} decisions of {report.lines:,} lines read")
    if report.is_unusable:
        sys.exit(1)


def _show(rows: int) -> None:
    click.echo(f"\r{rows:,} decisions", nl=False, err=True)
