"""The shipped nginx files in a folder of their own, with this machine's ports and nothing else
changed, and an nginx that serves them. For tests and benchmarks; `deploy/` is not in a wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ...adapters.data_plane.lua import lua_source
from ...settings import ChecksConfig
from ..processes import ROOT, ServerProcess

SHIPPED = ROOT / "deploy" / "nginx"
PLAIN, WITH_LUA = "hydragate.conf", "hydragate-lua.conf"
MODULES = Path("/usr/lib/nginx/modules")
Edits = tuple[tuple[str, str], ...]

_MAIN = """
{modules}
{user}
daemon off;
{workers}
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


def shipped_site(
    folder: Path,
    site: str,
    *,
    checks: ChecksConfig,
    upstream: str,
    port: int,
    edit: Edits = (),
) -> None:
    """Writes `site.conf` and what it includes. `edit`: further texts to replace, each of which
    must be there; `port` is where nginx will listen."""
    folder.mkdir(exist_ok=True)
    changes = [
        *edit,
        ("127.0.0.1:9192", f"127.0.0.1:{checks.report_port}"),
        ("127.0.0.1:8000", upstream.removeprefix("http://")),
        ("127.0.0.1:8443", f"127.0.0.1:{port}"),
    ]
    if site == WITH_LUA:
        changes += [
            ('check("127.0.0.1", 9191)', f'check("127.0.0.1", {checks.port})'),
            ('"/etc/nginx/?.lua;;"', f'"{folder}/?.lua;;"'),
        ]
        (folder / "hydragate.lua").write_text(lua_source("nginx"))
    else:
        changes.append(("127.0.0.1:9191", f"127.0.0.1:{checks.port}"))
    text = (SHIPPED / site).read_text()
    for ours, theirs in changes:
        if ours not in text:
            raise ValueError(f"{site} has no {ours!r}")
        text = text.replace(ours, theirs)
    (folder / "site.conf").write_text(text)
    for shared in ("hydragate-errors.conf", "hydragate-forward.conf"):
        shutil.copy(SHIPPED / shared, folder)


def start_nginx(
    binary: str,
    folder: Path,
    *,
    workers: int = 2,
    has_lua: bool = False,
    cpu: int | None = None,
) -> ServerProcess:
    """With `site.conf` of this folder; `workers` 0: one process that is master and worker.

    Raises ValueError with nginx's own words where it does not take the configuration.
    """
    path = folder / "nginx.conf"
    # Else its workers cannot enter the folder.
    user = "user root;" if os.getuid() == 0 else ""
    modules = ("ndk_http_module.so", "ngx_http_lua_module.so") if has_lua else ()
    path.write_text(
        _MAIN.format(
            folder=folder,
            user=user,
            modules="\n".join(f"load_module {MODULES / name};" for name in modules),
            workers=f"worker_processes {workers};" if workers else "master_process off;",
        )
    )
    command = [binary, "-p", str(folder), "-c", str(path)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        hint = "; install it with `apt-get install libnginx-mod-http-lua`" if has_lua else ""
        raise ValueError(f"{checked.stderr}{hint}")
    return ServerProcess(command, cpu=cpu)
