"""Throughput of the gateway with verification on and off, in turn in one run.

Run: python -m hydragate.loadtests.bench_verification_rate [--rounds N] [--save FILE]

*off*: no verification is set up and no rule asks for any. *on*: pages, mail and a provider are set
up, and each request is held against a rule that asks for a level, so that whether somebody is under
way is looked up for all; nobody is asked, as of nearly all requests of a gateway.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from .bench.in_turn import OFF, compare
from .bench.rig import (
    MEASURED_CPU,
    OTHER_CPU,
    POLICY,
    Measured,
    _ask,
    _store,
    keys,
    machine,
    wires,
)
from .processes import gateway, standin

WARM_UP = 8_000
ON = "on"


def policy_of(name: str, folder: Path) -> Path:
    """The bench's policy; *off* without the rule that asks for a level."""
    told = yaml.safe_load(POLICY)
    if name == OFF:
        told["rules"] = [rule for rule in told["rules"] if "verify" not in rule["then"]]
    folder.mkdir()
    (folder / "policy.yaml").write_text(yaml.safe_dump(told))
    return folder


def write_accounts(path: Path) -> Path:
    lines = [
        {"account_id": f"acc_{number}", "tier": "scale", "keys": [key], "verification": ["email"]}
        for number, key in enumerate(keys())
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def verification(folder: Path) -> dict[str, Any]:
    secret = folder / "provider-secret"
    secret.write_text("s" * 48)
    secret.chmod(0o600)
    return {
        "public_url": "http://127.0.0.1",
        "smtp": {"host": "127.0.0.1", "port": 9, "tls": "none", "sender": "bench@example.org"},
        "providers": [
            {
                "name": "provider",
                "title": "a provider",
                "levels": ["payment"],
                "start_url": "http://127.0.0.1:9/?session={session}",
                "secret_file": str(secret),
            }
        ],
    }


@contextlib.contextmanager
def gateways() -> Iterator[list[Measured]]:
    """One with and one without; each has a store of its own."""
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(standin("--fast", cpu=OTHER_CPU))
        found = []
        for name in (OFF, ON):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            settings = {
                "upstreams": [{"url": upstream}],
                "policy": str(policy_of(name, folder / "policy")),
                "accounts": str(write_accounts(folder / "accounts.jsonl")),
                "store": stack.enter_context(_store(folder)),
                "store_timeout_s": 1.0,  # a store that waits for a core is not broken
                **({"verification": verification(folder)} if name == ON else {}),
            }
            config = folder / "config.yaml"
            config.write_text(yaml.safe_dump(settings))
            server = stack.enter_context(
                gateway(folder / "data", "--config", str(config), cpu=MEASURED_CPU)
            )
            pid = _ask(server.admin, server.token)["worker_pids"][0]
            found.append(Measured(name, server.url, pid))
        yield found


@click.command()
@click.option("--rounds", type=click.IntRange(1, 1000), default=24, show_default=True)
@click.option("--requests", type=click.IntRange(100, 100_000), default=1_000, show_default=True)
@click.option("--save", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(rounds: int, requests: int, save: Path | None) -> None:
    """Requests a second with and without verification, and the ratios of the pairs."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {OTHER_CPU})
    with gateways() as pair:
        compared = compare(pair, wires(), warm_up=WARM_UP, rounds=rounds, requests=requests)
    click.echo(json.dumps(compared, indent=2))
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        save.write_text(json.dumps({"machine": machine(), "verification": compared}, indent=2))


if __name__ == "__main__":
    main()
