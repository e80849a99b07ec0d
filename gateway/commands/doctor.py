"""`hydragate doctor`: what would keep the gateway from starting, or from protecting."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson

from ..settings import Settings
from ..settings_file import load_settings

PATH = click.Path(path_type=Path)


@click.command()
@click.option("--upstream", help="The model API, such as https://api.example.com.")
@click.option("--policy", type=PATH, help="Policy folder or file.")
@click.option("--store", help="embedded (default), or a store URL.")
@click.option("--secret-file", type=PATH, help="The secret that keys every hash.")
@click.option("--data-dir", type=PATH, help="Embedded store, logs, secrets (default .hydragate).")
@click.option("--workers", type=click.IntRange(1, 256), help="Serving processes (default 1).")
@click.option("--config", type=PATH, help="Settings as YAML; flags win over it.")
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
def doctor(upstream: str | None, config: Path | None, as_json: bool, **flags: Any) -> None:
    """Look at settings, secret, policy, store, clock, upstreams and machine; change nothing.

    Takes what `serve` takes. Exit code 1 when something is bad, 0 with warnings alone.
    """
    from ..doctor import Finding, State, examine

    overrides = {name: value for name, value in flags.items() if value is not None}
    if upstream is not None:
        overrides["upstreams"] = [{"url": upstream}]
    settings = load_settings(config, overrides)

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
