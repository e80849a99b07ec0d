"""What `serve` takes, and so `doctor` too: whatever starts a gateway can be looked at first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..settings import Settings
from ..settings_file import load_settings

PATH = click.Path(path_type=Path)
PORT = click.IntRange(0, 65535)
F = TypeVar("F", bound=Callable[..., Any])
OPTIONS = (
    click.option("--upstream", help="The model API, such as https://api.example.com."),
    click.option("--policy", type=PATH, help="Policy folder or file."),
    click.option("--accounts", type=PATH, help="Accounts to import before serving (JSON Lines)."),
    click.option("--store", help="embedded (default), or a redis://, valkey:// or rediss:// URL."),
    click.option("--host", help="Public address to listen on (default 127.0.0.1)."),
    click.option("--port", type=PORT, help="Public port (default 8080; 0: any)."),
    click.option("--admin-host", help="Address of the admin port (default 127.0.0.1)."),
    click.option("--admin-port", type=PORT, help="Admin port (default 9090)."),
    click.option("--workers", type=click.IntRange(1, 256), help="Serving processes (default 1)."),
    click.option("--secret-file", type=PATH, help="The secret that keys every hash."),
    click.option(
        "--data-dir", type=PATH, help="Embedded store, logs, secrets (default .hydragate)."
    ),
    click.option("--config", type=PATH, help="Settings as YAML; flags win over it."),
)


def settings_options(command: F) -> F:
    """Every setting that has a flag; `read_settings` takes what they were given."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def read_settings(
    *, config: Path | None, upstream: str | None, **flags: str | int | Path | None
) -> Settings:
    """Raises UsageError as `load_settings` does."""
    overrides: dict[str, Any] = {name: one for name, one in flags.items() if one is not None}
    if upstream is not None:
        overrides["upstreams"] = [{"url": upstream}]
    return load_settings(config, overrides)
