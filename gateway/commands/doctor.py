"""`hydragate doctor`: what would keep the gateway from starting, or from protecting."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from typing import Any

import click
import orjson

from ..settings import Settings
from .settings_options import read_settings, settings_options


@click.command()
@settings_options
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
def doctor(as_json: bool, **given: Any) -> None:
    """Look at settings, certificate, secret, policy, store, upstreams and machine; change nothing.

    Takes what `serve` takes. Exit code 1 when something is bad, 0 with warnings alone.
    """
    from ..doctor import Finding, State, examine

    settings = read_settings(**given)

    async def look(settings: Settings) -> list[Finding]:
        found = []
        async for finding in examine(settings):
            found.append(finding)
            if not as_json:
                click.echo(str(finding))
        return found

    findings = asyncio.run(look(settings))
    if as_json:
        click.echo(orjson.dumps([asdict(finding) for finding in findings]).decode())
    counts = {state: sum(f.state is state for f in findings) for state in State}
    if not as_json:
        click.echo(f"\n{counts[State.BAD]} bad, {counts[State.WARNING]} warnings")
    if counts[State.BAD]:
        sys.exit(1)
