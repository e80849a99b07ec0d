"""`hydragate serve`: the gateway."""

from __future__ import annotations

from typing import Any

import click

from .settings_options import read_settings, settings_options


@click.command()
@settings_options
def serve(**given: Any) -> None:
    """Stand in front of a model API: decide, limit, count and explain every request."""
    from ..supervisor import run  # uvloop and uvicorn are not needed by the other commands

    raise SystemExit(run(read_settings(**given)))
