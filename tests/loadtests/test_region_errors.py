"""Who counts as hit by a region rule although not of the region."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from gateway.loadtests.region_errors import (
    Account,
    Tally,
    draw_set,
    policy_with,
    read_accounts,
    read_decisions,
    table,
)
from gateway.policy.load import load_policy

LABELS: list[dict[str, str | None]] = [
    {"account_id": "acc_home", "class": "ordinary"},
    {"account_id": "acc_trip", "class": "ordinary"},
    {"account_id": "acc_late", "class": "vpn"},
]
RECORDS: list[dict[str, str | None]] = [
    {"account_id": "acc_home", "billing_country": "XA", "signup_ip": None},
    {"account_id": "acc_trip", "phone_country": "DE", "signup_ip": "8.8.8.8"},
    {"account_id": "acc_unlabelled", "billing_country": "DE"},
]


def write(path: Path, records: list[dict[str, str | None]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def world(folder: Path) -> dict[str, Account]:
    write(folder / "labels.jsonl", LABELS)
    write(folder / "accounts.jsonl", RECORDS)
    write(folder / "events.jsonl", [{"account_id": "acc_late", "billing_country": "FR"}])
    return read_accounts(folder)


def finding(rule: str, verdict: str, mode: str = "enforce") -> dict[str, str]:
    return {"rule": rule, "verdict": verdict, "mode": mode}


def test_an_account_is_of_every_place_that_its_records_name(tmp_path: Path) -> None:
    found = world(tmp_path)
    assert {name: one.countries for name, one in found.items()} == {
        "acc_home": {"XA"},
        "acc_trip": {"DE", "US"},
        "acc_late": {"FR"},
    }


def test_only_what_region_rules_enforce_on_others_is_an_error(tmp_path: Path) -> None:
    accounts = world(tmp_path)
    lines = [
        ("acc_home", [finding("region-not-supported", "deny")]),
        ("acc_trip", [finding("region-doubt", "verify")]),
        ("acc_trip", [finding("region-doubt", "verify", "shadow")]),
        ("acc_trip", [finding("account-requests", "throttle")]),
        ("acc_late", [finding("country-conflict", "verify", "shadow")]),
    ]
    with gzip.open(tmp_path / "decisions.jsonl.gz", "wt") as out:
        for name, findings in lines:
            out.write(json.dumps({"account_id": name, "findings": findings}) + "\n")
    read_decisions(tmp_path / "decisions.jsonl.gz", accounts)
    tallies = {"ordinary": Tally(), "vpn": Tally()}
    for account in accounts.values():
        tallies[account.kind].add(account, frozenset({"XA"}))
    assert tallies["ordinary"].row() == (2, 1, 0, 1, 0), "the account of the set is no error"
    assert tallies["ordinary"].exchanges == {"all": 3, "denied": 0, "asked": 1}
    assert tallies["vpn"].row() == (1, 1, 0, 0, 1)
    assert "asked 25.0000%" in list(table(tallies))[-1]


def test_a_drawn_set_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    accounts = world(tmp_path).values()
    members = draw_set(accounts, 2, seed=1)
    assert members == draw_set(accounts, 2, seed=1)
    assert members <= {"XA", "DE", "US", "FR"}
    policy = load_policy(policy_with(members, tmp_path / "policies"))
    assert policy.region_sets["embargoed-regions"] == members
