"""Served share and containment on curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.loadtests.report.containment import containment, curve, window_shares
from gateway.loadtests.report.labels import Group
from gateway.loadtests.report.tally import Ints, Tally

HOURS = 96


def flat(*parts: tuple[int, float], per_hour: int = 100) -> tuple[Ints, Ints]:
    """(offered, served) of parts of so many hours, each served to this share."""
    served = np.concatenate([np.full(hours, round(per_hour * share)) for hours, share in parts])
    return np.full(len(served), per_hour), served


@pytest.mark.parametrize(
    ("parts", "after_h"),
    [
        ([(HOURS, 0.0)], 0),
        ([(HOURS, 1.0)], None),
        ([(HOURS, 0.04)], 0),
        ([(HOURS, 0.05)], None),
        # Served in full for 30 hours: a window from hour 29 on holds 1 of 24 full hours, 4.2 %.
        ([(30, 1.0), (66, 0.0)], 29),
        # Half served: two of 24 such hours are 4.2 %, three are 6.3 %.
        ([(30, 0.5), (66, 0.0)], 28),
        # Quiet for days, then through again on the last day.
        ([(10, 1.0), (70, 0.0), (16, 1.0)], None),
        # A leak early in the last day counts as long as a full window begins after it.
        ([(70, 0.0), (2, 1.0), (24, 0.0)], 71),
    ],
    ids=["never", "always", "4 %", "5 %", "30 h", "30 h half", "relapse", "late leak"],
)
def test_containment_is_after_the_last_leaking_window(
    parts: list[tuple[int, float]], after_h: int | None
) -> None:
    found = containment(*flat(*parts))
    assert found.is_measurable
    assert found.after_h == after_h


def test_a_campaign_of_less_than_a_day_cannot_be_called_contained() -> None:
    found = containment(*flat((23, 0.0)))
    assert not found.is_measurable
    assert found.after_h is None


def test_exactly_a_day_is_one_window() -> None:
    assert containment(*flat((24, 0.0))).after_h == 0
    assert containment(*flat((24, 1.0))).after_h is None


def test_a_window_without_exchanges_serves_nothing() -> None:
    offered = np.array([10] * 24 + [0] * 48)
    assert window_shares(offered, offered).tolist() == [1.0] * 24 + [0.0] * 25
    assert containment(offered, offered).after_h == 24


def test_containment_agrees_with_its_definition_word_for_word() -> None:
    rng = np.random.default_rng(11)
    for _ in range(200):
        offered = rng.poisson(3, 60)
        served = rng.binomial(offered, rng.choice([0.01, 0.03, 0.3], 60))
        windows = range(60 - 24 + 1)

        def leaks(start: int, offered: Ints = offered, served: Ints = served) -> bool:
            sent = int(offered[start : start + 24].sum())
            return sent > 0 and int(served[start : start + 24].sum()) / sent >= 0.05

        slow = [h for h in windows if not any(leaks(w) for w in windows if w >= h)]
        assert containment(offered, served).after_h == (min(slow) if slow else None)


def test_the_curve_begins_and_ends_with_the_campaign() -> None:
    campaign, other = Group("c", True), Group("ordinary", False)
    tally = Tally({"a": campaign, "b": other})
    for hour, account, verdict in [(3, "b", "deny"), (5, "a", "allow"), (8, "a", "deny")]:
        tally.add(
            ts=hour * 3600.0 + 1,
            account_id=account,
            verdict=verdict,
            would_be=verdict,
            served=verdict == "allow",
            reason=None,
        )
    tally.flush()
    found = curve(tally, tally.group_code(campaign))
    assert found is not None
    assert (found.start_s, found.offered.tolist(), found.served.tolist()) == (
        5 * 3600.0,
        [1, 0, 0, 1],
        [1, 0, 0, 0],
    )
    assert found.served_share == 0.5
