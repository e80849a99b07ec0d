"""Throughput of the gateway with verification on and off, in turn in one run.

Run: python -m hydragate.loadtests.bench_verification_rate [--rounds N] [--save FILE]

*off*: no verification is set up and no rule asks for any. *on*: pages, mail and a provider are set
up, and each request is held against a rule that asks for a level, so that whether somebody is under
way is looked up for all; nobody is asked, as of nearly all requests of a gateway.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .bench.in_turn import OFF, main_of, write_accounts
from .bench.rig import POLICY, wires

ON = "on"


def policy_of(name: str, folder: Path) -> Path:
    """The bench's policy; *off* without the rule that asks for a level."""
    told = yaml.safe_load(POLICY)
    if name == OFF:
        told["rules"] = [rule for rule in told["rules"] if "verify" not in rule["then"]]
    folder.mkdir()
    (folder / "policy.yaml").write_text(yaml.safe_dump(told))
    return folder


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


def settings(name: str, folder: Path) -> dict[str, Any]:
    return {
        "policy": str(policy_of(name, folder / "policy")),
        "accounts": write_accounts(
            folder / "accounts.jsonl", lambda number: {"verification": ["email"]}
        ),
        **({"verification": verification(folder)} if name == ON else {}),
    }


main = main_of("verification", (OFF, ON), settings, wires)

if __name__ == "__main__":
    main()
