"""`hydragate serve`: the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..settings_file import load_settings

PATH = click.Path(path_type=Path)


@click.command()
@click.option("--upstream", help="The model API, such as https://api.example.com.")
@click.option("--policy", type=PATH, help="Policy folder or file.")
@click.option("--accounts", type=PATH, help="Accounts to import before serving (JSON Lines).")
@click.option("--store", help="embedded (default), or a redis://, valkey:// or rediss:// URL.")
@click.option("--host", help="Public address to listen on (default 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Public port (default 8080; 0: any).")
@click.option("--admin-host", help="Address of the admin port (default 127.0.0.1).")
@click.option("--admin-port", type=click.IntRange(0, 65535), help="Admin port (default 9090).")
@click.option("--workers", type=click.IntRange(1, 256), help="Serving processes (default 1).")
@click.option("--secret-file", type=PATH, help="The secret that keys every hash.")
@click.option("--data-dir", type=PATH, help="Embedded store, logs, secrets (default .hydragate).")
@click.option("--config", type=PATH, help="Settings as YAML; flags win over it.")
def serve(upstream: str | None, config: Path | None, **flags: Any) -> None:
    """Stand in front of a model API: decide, limit, count and explain every request."""
    from ..supervisor import run  # uvloop and uvicorn are not needed by the other commands

    overrides = {name: value for name, value in flags.items() if value is not None}
    if upstream is not None:
        overrides["upstreams"] = [{"url": upstream}]
    raise SystemExit(run(load_settings(config, overrides)))
