"""Whom region rules hit who is not of the region: by class of innocents, from a replay.

    hydragate generate no-campaign --days 1 --out DIR
    python -m hydragate.loadtests.region_errors DIR --out OUT

The shipped set names countries where the worlds have no customers, so it would show nothing. Here
sets are drawn at random from the countries that the accounts' records name, and the shipped rules
are replayed with each of them in its place. An account is *of the set* when its payment, phone or
signup country is in it; what the rules do to all others is a false positive.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

import click
import yaml

from ..adapters.geo import bundled_geo
from .evaluate import command
from .processes import ROOT

RULES = frozenset({"region-not-supported", "region-doubt", "owner-not-supported"})
CONFLICT = "country-conflict"
SET = "embargoed-regions"
COLUMNS = ("accounts", "not of the set", "denied", "asked", "conflict in shadow")


@dataclass(slots=True)
class Account:
    """`countries` as its records name them; `worst` of region rules: 0 nothing, 2 asked, 3 denied;
    `denied` and `asked` count its exchanges."""

    kind: str
    countries: frozenset[str]
    worst: int = 0
    exchanges: int = 0
    denied: int = 0
    asked: int = 0
    conflict: bool = False


@dataclass(slots=True)
class Tally:
    """Account-runs of one class (an account once for each set), and exchanges of the others."""

    accounts: int = 0
    others: int = 0
    denied: int = 0
    asked: int = 0
    conflict: int = 0
    exchanges: Counter[str] = field(default_factory=Counter)

    def add(self, account: Account, members: frozenset[str]) -> None:
        self.accounts += 1
        if account.countries & members:
            return
        self.others += 1
        self.denied += account.worst == 3
        self.asked += account.worst == 2
        self.conflict += account.conflict
        self.exchanges["all"] += account.exchanges
        self.exchanges["denied"] += account.denied
        self.exchanges["asked"] += account.asked

    def row(self) -> tuple[int, ...]:
        return (self.accounts, self.others, self.denied, self.asked, self.conflict)


def read_accounts(folder: Path) -> dict[str, Account]:
    """Of the generated world, those included that sign up on the way."""
    kinds = {one["account_id"]: one["class"] for one in _lines(folder / "labels.jsonl")}
    records = [*_lines(folder / "accounts.jsonl"), *_lines(folder / "events.jsonl")]
    found: dict[str, frozenset[str]] = {}
    for record in records:
        name = record["account_id"]
        found[name] = found.get(name, frozenset()) | _countries(record)
    return {name: Account(kinds[name], told) for name, told in found.items() if name in kinds}


def _countries(record: dict[str, Any]) -> frozenset[str]:
    signup = record.get("signup_ip")
    from_address = None if signup is None else bundled_geo().place_of(ip_address(signup)).country
    told = (record.get("billing_country"), record.get("phone_country"), from_address)
    return frozenset([country for country in told if country is not None])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        yield from map(json.loads, lines)


def draw_set(accounts: Iterable[Account], size: int, seed: int) -> frozenset[str]:
    """Countries of accounts, each as likely as any other; no country is singled out by us."""
    known = sorted(frozenset().union(*(account.countries for account in accounts)))
    return frozenset(Random(seed).sample(known, min(size, len(known))))


def policy_with(members: frozenset[str], folder: Path) -> Path:
    """The shipped policies with another set in place of theirs; the path of `enforce`."""
    shutil.copytree(ROOT / "policies", folder, dirs_exist_ok=True)
    path = folder / "sets" / f"{SET}.yaml"
    told = yaml.safe_load(path.read_text()) | {"values": sorted(members), "source": "drawn"}
    path.write_text(yaml.safe_dump(told))
    return folder / "enforce"


def read_decisions(path: Path, accounts: dict[str, Account]) -> None:
    with gzip.open(path, "rb") as lines:
        for line in lines:
            decision = json.loads(line)
            account = accounts.get(decision["account_id"])
            if account is not None:
                _note(account, decision["findings"])


def _note(account: Account, findings: list[dict[str, str]]) -> None:
    verdicts = {f["verdict"] for f in findings if f["rule"] in RULES and f["mode"] == "enforce"}
    account.exchanges += 1
    account.conflict |= any(f["rule"] == CONFLICT for f in findings)
    if "deny" in verdicts:
        account.denied += 1
        account.worst = 3
    elif "verify" in verdicts:
        account.asked += 1
        account.worst = max(account.worst, 2)


@click.command()
@click.argument("world", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--sets", "count", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--countries", type=click.IntRange(1, 200), default=5, show_default=True)
@click.option("--save", type=click.Path(path_type=Path), help="The rows, as JSON.")
def main(world: Path, out: Path, count: int, countries: int, save: Path | None) -> None:
    """Replay WORLD under each set and print who was hit, by class."""
    tallies: dict[str, Tally] = {}
    for seed in range(count):
        accounts = read_accounts(world)
        members = draw_set(accounts.values(), countries, seed)
        run = out / str(seed)
        command(
            *("replay", "--traffic", str(world / "traffic.jsonl.zst"), "--no-link"),
            *("--accounts", str(world / "accounts.jsonl")),
            *("--events", str(world / "events.jsonl"), "--out", str(run)),
            *("--policy", str(policy_with(members, out / f"policies-{seed}"))),
        )
        read_decisions(run / "decisions.jsonl.gz", accounts)
        for account in accounts.values():
            tallies.setdefault(account.kind, Tally()).add(account, members)
    click.echo("\n".join(table(tallies)))
    if save is not None:
        rows = {name: _figures(tally) for name, tally in sorted(tallies.items())}
        save.write_text(json.dumps(rows, indent=1) + "\n")


def table(tallies: dict[str, Tally]) -> Iterator[str]:
    yield f"{'class':<26}" + "".join(f"{name:>20}" for name in COLUMNS)
    for name, tally in sorted(tallies.items()):
        yield f"{name:<26}" + "".join(f"{number:>20,}" for number in tally.row())
    rows = [tally.row() for tally in tallies.values()]
    yield f"{'all':<26}" + "".join(f"{sum(part):>20,}" for part in zip(*rows, strict=True))
    exchanges = sum((tally.exchanges for tally in tallies.values()), Counter[str]())
    whole = max(1, exchanges["all"])
    yield (
        f"exchanges of accounts not of the set: {whole:,}, denied "
        f"{exchanges['denied'] / whole:.4%}, asked {exchanges['asked'] / whole:.4%}"
    )


def _figures(tally: Tally) -> dict[str, Any]:
    figures = dict(zip((name.replace(" ", "_") for name in COLUMNS), tally.row(), strict=True))
    return {**figures, "exchanges": dict(sorted(tally.exchanges.items()))}


if __name__ == "__main__":
    main()
