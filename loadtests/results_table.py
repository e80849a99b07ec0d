"""The table of `docs/linking-results.md` from what `evaluate --save` kept.

    python -m hydragate.loadtests.results_table loadtests/results/2026-11-29-rungs/*.json

A row a campaign, in the order of the files. B-cubed and recall are of accounts that sent anything;
both, and precision, are of all campaigns of a scenario together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

HEADER = (
    "| Scenario | Served | Accounts refused, of those at work | Contained after |"
    " Innocents touched | Their exchanges refused | Accounts: precision, recall | B-cubed F1 |",
    "|---|---|---|---|---|---|---|---|",
)


def rows_of(name: str, figures: dict[str, Any]) -> Iterator[str]:
    """Of one scenario's figures (`evaluate`)."""
    whole = _whole(figures)
    if not figures["campaigns"]:
        yield _row(f"`{name}`", "–", "–", "–", *whole)
    for place, one in enumerate(figures["campaigns"]):
        hours = one["contained_after_h"]
        yield _row(
            "" if place else f"`{name}`",
            f"{one['name']} {one['served']['share']:.2%}",
            f"{one['accounts_refused']:,} of {one['accounts_seen']:,}",
            "never" if hours is None else f"{hours} h",
            *([""] * len(whole) if place else whole),
        )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _whole(figures: dict[str, Any]) -> tuple[str, ...]:
    """What is said of a scenario once."""
    touched, refused = figures["innocents"]["touched"], figures["innocents"]["refused"]
    innocents = (
        f"{touched['part']:,} of {touched['whole']:,}",
        f"{refused['part'] / max(1, refused['whole']):.3%}",
    )
    clusters = figures["clusters"]
    if clusters is None or not figures["campaigns"]:
        return *innocents, "–", "–"
    accounts = clusters["accounts"]
    both = ", ".join(_rounded(accounts[one]) for one in ("precision", "recall"))
    return *innocents, both, _rounded(clusters["b_cubed"]["f1"])


def _rounded(share: float | None) -> str:
    return "–" if share is None else f"{share:.2f}"


def table(files: tuple[Path, ...]) -> Iterator[str]:
    yield from HEADER
    for file in files:
        for one in json.loads(file.read_text()):
            yield from rows_of(file.stem, one["figures"])


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(files: tuple[Path, ...]) -> None:
    """Print the table of these results, in Markdown."""
    click.echo("\n".join(table(files)))


if __name__ == "__main__":
    main()
