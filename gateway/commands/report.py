"""`hydragate report`: what runs did to campaigns and to innocents, on one page."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..errors import UsageError

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option(
    "--run",
    "runs",
    metavar="NAME=DIR",
    multiple=True,
    required=True,
    help="A run's name and its --out folder; again for each run to stand beside it.",
)
@click.option("--labels", type=FILE, required=True, help="Campaign and class of each account.")
@click.option("--line-labels", type=FILE, help="Campaign of each line, where accounts mix.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option(
    "--rung",
    type=click.Choice(["regimes", "evasion", "relay"]),
    default="regimes",
    show_default=True,
    help="Which row of the targets holds: how hard the campaigns make it.",
)
@click.option("--traces", type=FOLDER, help="Also compare drawn arrivals with these traces.")
@click.option("--title", default="What campaigns got, and whom it cost", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print summary.json.")
def report(
    runs: tuple[str, ...],
    labels: Path,
    line_labels: Path | None,
    out: Path,
    rung: str,
    traces: Path | None,
    title: str,
    as_json: bool,
) -> None:
    """Write a self-contained HTML page, its plots as PNG and summary.json into --out.

    Exits with 0 whether targets are met or missed: a miss is a finding, not an error.
    """
    try:
        from ..loadtests.report.build import build
    except ImportError as error:
        raise UsageError(f"reports need: pip install 'hydragate[report]' ({error})") from None
    paths = build(
        _by_name(runs),
        labels=labels,
        line_labels=line_labels,
        out=out,
        rung=rung,
        traces=traces,
        title=title,
        on_progress=_show if sys.stderr.isatty() else None,
    )
    if as_json:
        click.echo((out / "summary.json").read_text(), nl=False)
    else:
        click.echo("\n".join(map(str, paths)))


def _by_name(runs: tuple[str, ...]) -> dict[str, Path]:
    named = list(map(_named, runs))
    names = [name for name, _ in named]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--run {name}=…: comes twice; each run needs a name of its own")
    return dict(named)


def _named(run: str) -> tuple[str, Path]:
    name, equals, folder = run.partition("=")
    if not (name and equals and folder):
        raise UsageError(f"--run {run}: write NAME=DIR")
    return name, Path(folder)


def _show(name: str, lines: int) -> None:
    click.echo(f"\r{name}: {lines:,} exchanges", nl=False, err=True)
