"""`hydragate demo`: what the gateway does, shown on a campaign among ordinary customers."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

import click

from ..errors import UsageError


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/demo"),
    show_default=True,
    help="Report, plots and the gateway's data; emptied first.",
)
@click.option("--seconds", type=click.FloatRange(5, 3600), default=45.0, show_default=True)
@click.option(
    "--scale",
    type=click.FloatRange(0.01, 10),
    default=1.0,
    show_default=True,
    help="Size of the campaign in accounts (the rate of each stays).",
)
@click.option("--keep", is_flag=True, help="Leave everything running afterwards.")
def demo(out: Path, seconds: float, scale: float, keep: bool) -> None:
    """Run a campaign among ordinary customers through a gateway, and report what it contained."""
    try:
        import matplotlib  # noqa: F401 - said before anything is started

        from ..loadtests.demo.run import run
    except ImportError as error:
        raise UsageError(f"the demo needs: pip install 'hydragate[report]' ({error})") from None
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    run(out=out, seconds=seconds, scale=scale, keep=keep)


def _leave(number: int, _: FrameType | None) -> None:
    """As Ctrl+C does: through every `finally`, or its servers would go on without it."""
    sys.exit(128 + number)
