"""The `hydragate` command. Exit codes: 0 fine, 1 the thing checked is bad, 2 wrong usage."""

from __future__ import annotations

import sys
from typing import Any

import click

from . import __version__
from .commands.accounts import accounts
from .commands.clusters import clusters
from .commands.demo import demo
from .commands.doctor import doctor
from .commands.envoy_config import envoy_config
from .commands.generate import generate
from .commands.geo import geo
from .commands.linker import linker
from .commands.log import log
from .commands.nginx_lua import nginx_lua
from .commands.operate import explain, mode
from .commands.policy import policy
from .commands.replay import replay
from .commands.report import report
from .commands.serve import serve
from .commands.simulate import simulate
from .commands.state import state
from .commands.train import train
from .commands.verifications import verifications
from .errors import BadLinesError, HydragateError, PolicyError, StoreError, UsageError

DOCTOR = "hydragate doctor looks closer"
STORE_FIX = {
    "unreachable": "bring it up, or name another with --store",
    "timeout": f"it hangs or is far away: {DOCTOR}",
    "refused": f"it answers and says no: look at its login, rights and room; {DOCTOR}",
}


def _store_fix(error: StoreError) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in error.detail:
        return f"name the authority that signed its certificate, ?ca_file=…; {DOCTOR}"
    return STORE_FIX.get(error.kind, DOCTOR)


class HydragateGroup(click.Group):
    """Turns our errors into messages and exit codes instead of tracebacks."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (PolicyError, BadLinesError) as error:
            click.echo(str(error), err=True)
            sys.exit(1)
        except UsageError as error:
            click.echo(f"hydragate: {error}", err=True)
            sys.exit(2)
        except StoreError as error:
            click.echo(f"hydragate: {error}; {_store_fix(error)}", err=True)
            sys.exit(1)
        except HydragateError as error:
            click.echo(f"hydragate: {error}", err=True)
            sys.exit(1)


@click.group(cls=HydragateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hydragate")
def main() -> None:
    """Abuse-defence gateway for model APIs: many accounts, one hand, one limit."""


for command in (
    *(serve, doctor, linker, mode, explain, policy, accounts, clusters, geo, verifications, state),
    *(log, envoy_config, nginx_lua, generate, replay, simulate, report, demo, train),
):
    main.add_command(command)


if __name__ == "__main__":
    main()
