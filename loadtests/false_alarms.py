"""The false-alarm budget: whom linking accuses where there is no campaign at all.

    python -m hydragate.loadtests.false_alarms no-campaign held-out --days 2 --seeds 1,2,3 --out DIR

Worlds of nothing but customers are replayed, each class of innocents in them; every account in a
suspected or confirmed cluster is a false alarm. The unit is *falsely enforced accounts per million
account-months* (an account that is there for 30 days), and the budget `--budget`.

Two bounds at 95 %. The *exact* one is for a number of worlds that was settled before. The *anytime*
one holds however often one looks and whenever one stops: the rates at which the mixture
e-process ∫ Poisson likelihood ratio dGamma(λ) stays under 20 (Ville's inequality; a prior of mean
`--budget`).
Accounts are accused in groups, so they do not fall independently: where any fell, count groups.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import exp, lgamma, log
from pathlib import Path
from typing import Any

import click
from scipy.stats import chi2

from .evaluate import command

MILLION = 1_000_000
MONTH_DAYS = 30.0
ALPHA = 0.05
PRIOR_SHAPE = 0.5
ACCUSED = ("suspected", "confirmed")


@dataclass(slots=True)
class Exposure:
    """Accounts that were watched over `months` account-months, those accused, in `groups`."""

    accounts: int = 0
    months: float = 0.0
    accused: int = 0
    groups: int = 0

    def add(self, other: Exposure) -> None:
        self.accounts += other.accounts
        self.months += other.months
        self.accused += other.accused
        self.groups += other.groups


@dataclass(slots=True)
class Tally:
    """Exposure by class of innocents."""

    by_class: dict[str, Exposure] = field(default_factory=dict)

    def add(self, name: str, found: Exposure) -> None:
        self.by_class.setdefault(name, Exposure()).add(found)

    @property
    def total(self) -> Exposure:
        whole = Exposure()
        for one in self.by_class.values():
            whole.add(one)
        return whole


def exact_bounds(events: int, months: float) -> tuple[float, float]:
    """A Poisson rate a month, two-sided. Source: Garwood, Biometrika 28 (1936)."""
    low = float(chi2.ppf(ALPHA / 2, 2 * events)) / 2 / months if events else 0.0
    return low, float(chi2.ppf(1 - ALPHA / 2, 2 * events + 2)) / 2 / months


def e_value(events: int, months: float, rate: float, *, prior_mean: float) -> float:
    """Evidence against this rate a month: its expectation under it is 1 at every instant.

    Infinite only beyond what a float holds; `rate` and `prior_mean` are above 0.
    """
    scale = PRIOR_SHAPE / prior_mean
    mixture = (
        PRIOR_SHAPE * log(scale)
        - lgamma(PRIOR_SHAPE)
        + lgamma(PRIOR_SHAPE + events)
        - (PRIOR_SHAPE + events) * log(scale + months)
    )
    return exp(min(700.0, mixture - events * log(rate) + rate * months))


def anytime_upper(events: int, months: float, *, prior_mean: float) -> float:
    """The highest rate a month that has not been ruled out by any look so far."""
    low = (events + PRIOR_SHAPE) / months  # near the likeliest, which is never ruled out
    high = low
    while e_value(events, months, high, prior_mean=prior_mean) < 1 / ALPHA:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        is_ruled_out = e_value(events, months, middle, prior_mean=prior_mean) >= 1 / ALPHA
        low, high = (low, middle) if is_ruled_out else (middle, high)
    return high


def tallied(run: Path, days: float) -> Tally:
    """What one replay shows. Accounts that sign up on the way count from the start."""
    classes = {
        label["account_id"]: str(label["class"])
        for label in map(json.loads, (run / "labels.jsonl").read_text().splitlines())
        if label["campaign"] is None
    }
    clusters = [
        one
        for one in map(json.loads, (run / "clusters.jsonl").read_text().splitlines())
        if one["state"] in ACCUSED
    ]
    found = Tally()
    for name, count in Counter(classes.values()).items():
        found.add(name, Exposure(count, count * days / MONTH_DAYS))
    for cluster in clusters:
        hit = Counter(classes[one] for one in cluster["accounts"] if one in classes)
        for name, count in hit.items():
            found.add(name, Exposure(accused=count, groups=1))
    return found


def figures(one: Exposure, budget: float) -> dict[str, Any]:
    """`one` as rates per million account-months against the budget."""
    low, high = exact_bounds(one.accused, one.months)
    upper = anytime_upper(one.accused, one.months, prior_mean=budget / MILLION)
    against = e_value(one.accused, one.months, budget / MILLION, prior_mean=budget / MILLION)
    return {
        "accounts": one.accounts,
        "account_months": round(one.months, 1),
        "accused": one.accused,
        "groups": one.groups,
        "per_million_account_months": round(MILLION * one.accused / one.months, 1),
        "exact_95": [round(MILLION * low, 1), round(MILLION * high, 1)],
        "anytime_upper_95": round(MILLION * upper, 1),
        "e_value_against_budget": round(against, 4),
    }


def table(tally: Tally, budget: float) -> Iterable[str]:
    columns = f"{'class':<20}{'accounts':>9}{'months':>9}{'accused':>9}{'per M':>9}"
    yield f"{columns}{'95 %':>20}{'anytime':>10}"
    rows = [*sorted(tally.by_class.items()), ("all", tally.total)]
    for name, one in rows:
        row = figures(one, budget)
        low, high = row["exact_95"]
        yield (
            f"{name:<20}{one.accounts:>9,}{one.months:>9,.0f}{one.accused:>9,}"
            f"{row['per_million_account_months']:>9,.0f}{f'{low:,.0f}-{high:,.0f}':>20}"
            f"{row['anytime_upper_95']:>10,.0f}"
        )


def verdict(total: Exposure, budget: float) -> str:
    """Kept, missed, or not known yet; never more than the bounds carry."""
    low, high = (MILLION * bound for bound in exact_bounds(total.accused, total.months))
    if high <= budget:
        return f"within the budget of {budget:,.0f} (at most {high:,.0f})"
    if low > budget:
        return f"over the budget of {budget:,.0f} (at least {low:,.0f})"
    needed = chi2.ppf(1 - ALPHA / 2, 2) / 2 / budget * MILLION
    return (
        f"not shown to be within the budget of {budget:,.0f}: compatible with {low:,.0f} to "
        f"{high:,.0f}; {needed:,.0f} account-months without one would show it"
    )


@click.command()
@click.argument("scenarios", nargs=-1, required=True)
@click.option("--policy", type=click.Path(exists=True, path_type=Path), default="policies/enforce")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--days", type=click.FloatRange(min=0.01), default=2.0, show_default=True)
@click.option("--scale", type=float, default=1.0, show_default=True)
@click.option("--seeds", default="1", show_default=True, help="Numbers with commas between.")
@click.option(
    "--budget",
    type=click.FloatRange(min=0.001),
    default=1_000.0,
    show_default=True,
    help="Falsely enforced accounts per million account-months.",
)
@click.option("--save", type=click.Path(path_type=Path), help="The figures, as JSON.")
def main(
    scenarios: tuple[str, ...],
    policy: Path,
    out: Path,
    days: float,
    scale: float,
    seeds: str,
    budget: float,
    save: Path | None,
) -> None:
    """Replay worlds without a campaign and count whom linking accuses.

    What --out holds of a finished world counts as it is, and one that was interrupted goes on; so
    use another --out for another version, policy, number of days or scale.
    """
    tally = Tally()
    for scenario in scenarios:
        for seed in map(int, seeds.split(",")):
            run = out / f"{Path(scenario).stem}-{seed}"
            if not (run / "clusters.jsonl").exists():
                is_begun = (run / "checkpoint").exists()
                command(
                    *("replay", "--scenario", scenario, "--policy", str(policy), "--out", str(run)),
                    *("--days", str(days), "--scale", str(scale), "--seed", str(seed)),
                    *(("--resume",) if is_begun else ()),
                )
            for name, found in tallied(run, days).by_class.items():
                tally.add(name, found)
            total = tally.total
            click.echo(f"{scenario} {seed}: {total.accused} of {total.accounts:,} so far", err=True)
    click.echo("\n".join(table(tally, budget)))
    click.echo(verdict(tally.total, budget))
    if save is not None:
        rows = {name: figures(one, budget) for name, one in sorted(tally.by_class.items())}
        whole = {"budget": budget, "all": figures(tally.total, budget), "classes": rows}
        save.write_text(json.dumps(whole, indent=1) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
