"""Signals of the account's window: unknown without one, and read from it alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.window import IS_HOSTING, SIGHTING, see
from gateway.engine import WINDOWED as WINDOW_NEEDS
from gateway.model import SECOND_US
from gateway.signals import all_signals
from tests.core.builders import FACTS, NOW_US, SUBJECT

NOW_S = NOW_US // SECOND_US
WINDOWED = [spec for spec in all_signals().values() if spec.needs in ("window", "workspace")]
EXPECTED = {
    "requests_1h": 4,
    "requests_24h": 4,
    "tokens_24h": 120,
    "output_tokens_24h": 80,
    "active_hours_24h": 2,  # NOW is the first second of an hour
    "distinct_networks_24h": 4,
    "distinct_end_users_24h": 1,
    "hosting_share_24h": 0.5,
    "refused_share_24h": 0.0,
    "last_country": "FR",
    "last_country_age_s": 0,
    "model_switch_age_s": 2,
    "usual_gap_s": 4,
    "requests_7d": 68,
    "tokens_1h": 120,
    "tokens_7d": 120,
    "distinct_parameters_24h": 1,
    "distinct_clients_24h": 0,
    "distinct_workspaces_24h": 3,
    "failed_share_24h": 0.0,
    "retried_share_24h": 0.0,
    "usual_requests_24h": 64.0,
    "volume_change_24h": 0.0625,
    "travel_kmh": 0.0,
}


def window() -> bytes:
    """Four requests a second apart, of a second model from the second on; before, a busy day."""
    yesterday = SIGHTING.pack(NOW_S - 86_400, 64, 0, 0, 0, *[255] * 7, 0, 0)
    packed = see(None, yesterday, NOW_S - 86_400)
    for n in range(4):
        flags = IS_HOSTING if n % 2 else 0
        bits = (7, n, 9, 255, n % 3, 1 if n < 1 else 2)
        country = ord("F") << 8 | ord("R")
        at_s = NOW_S - 3 + n
        one = SIGHTING.pack(at_s, 1, 10, 20, flags, *bits, 255, 5, country)
        packed = see(packed, one, at_s)
    return packed


@pytest.mark.parametrize("spec", WINDOWED, ids=lambda spec: spec.name)
def test_without_a_window_it_is_unknown(spec: object) -> None:
    assert spec.read(FACTS, SUBJECT) is None  # type: ignore[attr-defined]
    assert spec.nullable  # type: ignore[attr-defined]


def test_every_windowed_signal_is_in_the_table() -> None:
    assert {spec.name for spec in WINDOWED} == EXPECTED.keys()


@pytest.mark.parametrize(("name", "value"), EXPECTED.items(), ids=EXPECTED.keys())
def test_it_says_what_the_window_holds(name: str, value: object) -> None:
    facts = replace(FACTS, window=window(), country="FR")
    assert all_signals()[name].read(facts, SUBJECT) == value


def test_every_signal_of_the_file_says_that_it_reads_the_window() -> None:
    facts = replace(FACTS, window=window())
    for spec in all_signals().values():
        if spec.read.__module__.endswith("behaviour"):
            assert spec.needs in WINDOW_NEEDS, spec.name
            spec.read(facts, SUBJECT)
