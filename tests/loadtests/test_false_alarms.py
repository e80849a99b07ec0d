"""The false-alarm budget: bounds that hold, and what is counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from gateway.loadtests.false_alarms import (
    Exposure,
    anytime_upper,
    e_value,
    exact_bounds,
    tallied,
    verdict,
)


def test_exact_bounds_are_those_of_the_tables() -> None:
    """Garwood's for 0 and 5 events."""
    assert list(exact_bounds(0, 1.0)) == pytest.approx([0.0, 3.689], abs=1e-3)
    assert list(exact_bounds(5, 1.0)) == pytest.approx([1.623, 11.668], abs=1e-3)


@pytest.mark.parametrize("events", [0, 1, 7])
def test_looking_often_has_a_price(events: int) -> None:
    anytime = anytime_upper(events, 100.0, prior_mean=0.01)
    assert anytime > chi2.ppf(0.95, 2 * events + 2) / 2 / 100.0  # one-sided, for one look
    assert e_value(events, 100.0, anytime, prior_mean=0.01) == pytest.approx(20.0, rel=1e-3)


def test_a_true_rate_is_ruled_out_in_few_worlds_however_often_one_looks() -> None:
    """At most one in twenty, over 400 looks at each of 400 runs."""
    rng, rate = np.random.default_rng(7), 0.02
    wrong = 0
    for _ in range(400):
        events = np.cumsum(rng.poisson(rate * 5.0, 400))
        wrong += any(
            e_value(int(count), 5.0 * (look + 1), rate, prior_mean=0.01) >= 20
            for look, count in enumerate(events)
        )
    assert wrong <= 0.05 * 400


def test_innocents_in_accused_clusters_are_counted_by_class(tmp_path: Path) -> None:
    labels = [
        {"account_id": "a", "campaign": None, "class": "ordinary"},
        {"account_id": "b", "campaign": None, "class": "families"},
        {"account_id": "c", "campaign": "pool", "class": "campaign"},
    ]
    clusters = [
        {"state": "suspected", "accounts": ["a", "c"]},
        {"state": "watched", "accounts": ["b"]},
    ]
    for name, rows in (("labels", labels), ("clusters", clusters)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = tallied(tmp_path, days=15.0)
    assert found.by_class["ordinary"] == Exposure(1, 0.5, 1, 1)
    assert found.by_class["families"] == Exposure(1, 0.5, 0, 0)
    assert found.total.accounts == 2


@pytest.mark.parametrize(
    ("total", "said"),
    [
        (Exposure(9_000, 9_000.0, 0, 0), "within"),
        (Exposure(900, 900.0, 90, 1), "over"),
        (Exposure(900, 900.0, 0, 0), "not shown"),
    ],
    ids=["kept", "missed", "too-few-to-know"],
)
def test_a_verdict_claims_no_more_than_the_bounds(total: Exposure, said: str) -> None:
    assert verdict(total, 1_000.0).startswith(said)
