"""What verification costs an operator, and whom else it meets: a scenario with scripted friction.

    python -m hydragate.loadtests.friction loadtests/scenarios/three-regimes.yaml --days 3

Whoever is asked answers as the script says: honest accounts pass after a person's delay, or never;
operators pay for a mailbox, phone, card or identity and pass after theirs, for ever. The replay
decides without labels; only the script knows who is who, as the world outside does.
"""

from __future__ import annotations

import asyncio
import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import Any

import click
import yaml

from ..app import open_replay_store
from ..classifiers.load import ModelHolder
from ..classifiers.reader import TaskReader
from ..commands.replay import FixedPolicy
from ..commands.replay_inputs import Asked, load_scenario
from ..core.keyed import KeyedHash
from ..model import SECOND_US, Ask, Decision, Grant, Level, RequestFacts, Verdict
from ..ports import Directory
from ..workers.linking_hook import LinkingHook
from ..workers.replay import REPLAY_SECRET
from ..workers.replay_files import CHECKPOINT_EVERY_S, ReplayPlan, ReplayRun, Stop
from ..workers.replay_hook import ReplayedRequest
from ..workers.traffic import LoggedResponse

SCRIPT = Path(__file__).with_name("friction.yaml")


@dataclass
class Told:
    """What came of it, by campaign or class."""

    accounts: Counter[str] = field(default_factory=Counter)
    exchanges: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    asked: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    passed: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    bought: dict[str, dict[str, Fraction]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Fraction))
    )


class ScriptedFriction:
    """A `ReplayHook` around the linker's: it answers asks, on the tick after their delay."""

    def __init__(
        self,
        inner: LinkingHook,
        script: Mapping[str, Any],
        groups: Mapping[str, tuple[str, bool]],
        asks: Mapping[str, Ask],
    ) -> None:
        """`groups`: account → (campaign or class, whether an operator runs it)."""
        self.told = Told()
        self._inner = inner
        self._script = script
        self._groups = groups
        self._asks = asks
        self._due: list[tuple[int, str, int, str]] = []  # instant, account, level, rule
        self._waiting: set[tuple[str, int]] = set()
        self._met: set[tuple[str, int]] = set()
        for group, _ in groups.values():
            self.told.accounts[group] += 1

    def on_request(self, asked: ReplayedRequest) -> None:
        account_id, decision = asked.line.account_id, asked.decision
        group, is_operator = self._groups.get(account_id, ("unlabelled", False))
        self.told.exchanges[group] += 1
        self.told.served[group] += decision.is_served
        if decision.verdict is Verdict.VERIFY and decision.level is not None:
            self._ask(asked.now_us, account_id, decision, group, is_operator=is_operator)
        self._inner.on_request(asked)

    def on_response(
        self, number: int, now_us: int, facts: RequestFacts, response: LoggedResponse
    ) -> None:
        self._inner.on_response(number, now_us, facts, response)

    async def on_tick(self, now_us: int, directory: Directory) -> None:
        while self._due and self._due[0][0] <= now_us:
            _, account_id, level, rule = heapq.heappop(self._due)
            self._waiting.discard((account_id, level))
            stored = await directory.get(account_id)
            if stored is None:
                continue
            group, _ = self._groups.get(account_id, ("unlabelled", False))
            ask = self._asks[rule]
            name = Level(level).name.lower()
            self.told.passed[group][name] += 1
            self.told.bought[group][name] += Fraction(1, _serves(self._script, name, ask))
            lasts_us = ask.expires_us
            grant = Grant(Level(level), now_us, None if lasts_us is None else now_us + lasts_us)
            kept = (*stored.grants, grant)
            await directory.put(replace(stored, grants=kept, asked_us=None), None)
        await self._inner.on_tick(now_us, directory)

    def clusters(self) -> Iterable[Mapping[str, Any]]:
        return self._inner.clusters()

    def snapshot(self) -> bytes:
        return self._inner.snapshot()

    def restore(self, state: bytes) -> None:
        self._inner.restore(state)

    def _ask(
        self, now_us: int, account_id: str, decision: Decision, group: str, *, is_operator: bool
    ) -> None:
        level = decision.level
        assert level is not None
        key, name = (account_id, int(level)), level.name.lower()
        if key in self._waiting:
            return
        if key not in self._met:
            self._met.add(key)
            self.told.asked[group][name] += 1
        self._waiting.add(key)
        terms = self._script["operator" if is_operator else "honest"][name]
        if _draw(account_id, name) < terms.get("gives_up_per_mille", 0):
            return
        due_us = now_us + int(terms["delay_s"] * SECOND_US)
        heapq.heappush(self._due, (due_us, account_id, int(level), decision.reason))


def _serves(script: Mapping[str, Any], level: str, ask: Ask) -> int:
    """How many accounts one of what the operator buys settles under this rule."""
    serves = int(script["operator"][level]["serves"])
    return serves if ask.max_accounts is None else min(serves, ask.max_accounts)


def _draw(account_id: str, level: str) -> int:
    """0..999, the same each time."""
    digest = blake2b(f"{account_id} {level}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % 1000


def prices(told: Told, script: Mapping[str, Any], groups: Iterable[str]) -> list[dict[str, Any]]:
    """Of each campaign: what it had to buy, and per million exchanges that were served."""
    rows = []
    for group in sorted(groups):
        served = told.served[group]
        bought = {level: ceil(parts) for level, parts in told.bought[group].items()}
        spent = sum(script["operator"][level]["price_usd"] * n for level, n in bought.items())
        rows.append(
            {
                "campaign": group,
                "accounts": told.accounts[group],
                "exchanges": told.exchanges[group],
                "served": served,
                "asked": dict(told.asked[group]),
                "passed": dict(told.passed[group]),
                "bought": bought,
                "usd": round(spent, 2),
                "per_million_exchanges": _per_million(bought, told.exchanges[group]),
                "per_million_served": _per_million(bought, served),
                "usd_per_million_served": round(1e6 * spent / served, 2) if served else None,
            }
        )
    return rows


def _per_million(bought: Mapping[str, int], exchanges: int) -> dict[str, float]:
    """{} where there were no exchanges."""
    return {level: round(1e6 * n / exchanges, 1) for level, n in bought.items() if exchanges}


def met(told: Told, groups: Iterable[str]) -> list[dict[str, Any]]:
    """Of each innocent class: the share of its accounts that met each step."""
    return [
        {
            "class": group,
            "accounts": told.accounts[group],
            "asked": {
                level: round(count / told.accounts[group], 5)
                for level, count in sorted(told.asked[group].items())
            },
            "refused": round(1 - told.served[group] / max(1, told.exchanges[group]), 6),
        }
        for group in sorted(groups)
    ]


@click.command()
@click.argument("scenario", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--policy", type=click.Path(exists=True, path_type=Path), default="policies/enforce")
@click.option("--script", type=click.Path(exists=True, path_type=Path), default=SCRIPT)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--days", type=float, help="Only so many days of it.")
@click.option("--scale", type=float, default=1.0, show_default=True)
def main(
    scenario: Path, policy: Path, script: Path, out: Path, days: float | None, scale: float
) -> None:
    """Replay SCENARIO with scripted friction; prints and keeps friction.json."""
    out.mkdir(parents=True, exist_ok=True)
    said = yaml.safe_load(script.read_text())
    world: Any = load_scenario(scenario, scale=scale, days=days, seed=None)
    groups: dict[str, tuple[str, bool]] = {}
    for label in world.labels():
        campaign = label.get("campaign")
        groups[label["account_id"]] = (campaign or str(label.get("class")), campaign is not None)
    policies = FixedPolicy(policy)
    inner = LinkingHook(KeyedHash(REPLAY_SECRET))
    hook = ScriptedFriction(inner, said, groups, policies.current.asks)

    async def run() -> None:
        asked = Asked(None, None, None, scenario, scale, days, None)
        with asked.open(labels_dir=out) as inputs:
            async with open_replay_store("memory") as store:
                plan = ReplayPlan(
                    feed=inputs.feed,
                    accounts=inputs.accounts,
                    events=inputs.events,
                    out=out,
                    store=store,
                    policies=policies,
                    identity=inputs.identity,
                    hook=hook,
                    tasks=TaskReader(ModelHolder(None)),
                    checkpoint_every_s=CHECKPOINT_EVERY_S,
                )
                await ReplayRun(plan, stop=Stop()).run()

    asyncio.run(run())
    operators = {group for group, is_operator in groups.values() if is_operator}
    innocents = {group for group, is_operator in groups.values() if not is_operator}
    result = {
        "scenario": scenario.stem,
        "policy": policies.current.revision,
        "campaigns": prices(hook.told, said, operators),
        "innocents": met(hook.told, innocents),
    }
    (out / "friction.json").write_text(json.dumps(result, indent=1) + "\n")
    click.echo(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
