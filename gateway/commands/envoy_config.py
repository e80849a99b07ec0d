"""`hydragate envoy-config`: a complete bootstrap for Envoy, from the gateway's settings."""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from ..adapters.data_plane.envoy_config import envoy_bootstrap
from ..errors import UsageError
from ..settings_file import load_settings


@click.command("envoy-config")
@click.option("--config", type=click.Path(path_type=Path), required=True, help="Settings as YAML.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it (default: stdout).")
def envoy_config(config: Path, out: Path | None) -> None:
    """Write Envoy's whole configuration: listener, check, usage, reports, upstreams."""
    settings = load_settings(config, {})
    if settings.checks is None:
        raise UsageError(f"{config}: checks: is not set; add `checks: {{}}` for the default ports")
    text = yaml.safe_dump(envoy_bootstrap(settings, settings.checks), sort_keys=False, width=100)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text)
