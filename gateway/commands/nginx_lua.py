"""`hydragate nginx-lua`: the Lua file that `deploy/nginx/hydragate-lua.conf` requires."""

from __future__ import annotations

from pathlib import Path

import click

from ..adapters.data_plane.lua import lua_source


@click.command("nginx-lua")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it (default: stdout).")
def nginx_lua(out: Path | None) -> None:
    """Write the Lua that checks and settles inside nginx (with libnginx-mod-http-lua)."""
    text = lua_source("nginx")
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text)
