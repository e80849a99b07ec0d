"""Quotas as people write them."""

from __future__ import annotations

import pytest

from gateway.core.quota import QuotaError, parse_count, parse_quota
from gateway.model import SECOND_US, Quota

MINUTE_US = 60 * SECOND_US


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("60/min", Quota(60, MINUTE_US, 60)),
        ("200k/min", Quota(200_000, MINUTE_US, 200_000)),
        ("1.5M / hour", Quota(1_500_000, 3600 * SECOND_US, 25_000)),
        ("1000/day", Quota(1000, 86_400 * SECOND_US, 1)),
        ("12 at once", Quota(12, 0, 12)),
    ],
)
def test_quota_reads_as_written(text: str, expected: Quota) -> None:
    assert parse_quota(text) == expected


@pytest.mark.parametrize(
    "text", ["", "60", "60/fortnight", "0/min", "-1/min", "1.5/min", "many/min", "/min", "1e9/min"]
)
def test_what_is_no_quota_is_refused(text: str) -> None:
    with pytest.raises(QuotaError):
        parse_quota(text)


def test_a_quota_finer_than_the_clock_says_which_burst_would_do() -> None:
    with pytest.raises(QuotaError, match="at least 40"):
        parse_quota("40M/s", 39)
    assert parse_quota("40M/s", 40).burst == 40


def test_a_burst_of_over_a_year_is_refused() -> None:
    with pytest.raises(QuotaError, match="over a year"):
        parse_quota("1/day", 400)


def test_counts_know_their_units() -> None:
    assert [parse_count(text) for text in ("7", "7k", "7M", "1_000")] == [7, 7000, 7_000_000, 1000]
