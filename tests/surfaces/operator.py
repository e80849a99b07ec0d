"""An operator with the commands of `hydragate`, against a running gateway."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.loadtests.processes import GatewayProcess


def run(server: GatewayProcess, *words: str) -> Result:
    options = ("--admin", server.admin, "--token-file", str(data_dir(server) / "admin-token"))
    return CliRunner().invoke(main, [*words, *options])


def data_dir(server: GatewayProcess) -> Path:
    return next(Path(word) for word in server.command if word.endswith("data"))
