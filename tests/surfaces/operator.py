"""An operator with the commands of `hydragate`, against a running gateway."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.loadtests.processes import GatewayProcess


def run(server: GatewayProcess, *words: str) -> Result:
    token_file = (
        next(Path(word) for word in server.command if word.endswith("data")) / "admin-token"
    )
    options = ("--admin", server.admin, "--token-file", str(token_file))
    return CliRunner().invoke(main, [*words, *options])
