"""Region: facts that agree, facts that do not, networks that say nothing, and the way between."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.countries import CIRCLES, least_km
from gateway.core.window import SIGHTING, see
from gateway.model import NETWORK_CLASSES, SECOND_US, RequestFacts, Subject
from gateway.signals import all_signals
from tests.core.builders import FACTS, NOW_US, SUBJECT

NOW_S = NOW_US // SECOND_US
PERSON = replace(
    SUBJECT, billing_country=None, phone_country=None, signup_country=None, ownership=None
)


def value(name: str, facts: RequestFacts = FACTS, subject: Subject = PERSON) -> object:
    return all_signals()[name].read(facts, subject)


def at(country: str | None, network_class: str | None = "eyeball") -> RequestFacts:
    return replace(FACTS, country=country, network_class=network_class)


@pytest.mark.parametrize("network_class", [*NETWORK_CLASSES, None])
def test_a_network_that_anyone_can_rent_says_nothing(network_class: str | None) -> None:
    says = network_class in ("eyeball", "education", None)
    assert value("home_country", at("DE", network_class)) == ("DE" if says else None)


def test_conflict_needs_two_facts() -> None:
    german = replace(PERSON, billing_country="DE")
    assert value("country_conflict", at(None), PERSON) is None
    assert value("country_conflict", at(None), german) is None
    assert value("country_conflict", at("FR"), PERSON) is None
    assert value("country_conflict", at("DE"), german) is False
    assert value("country_conflict", at("FR"), german) is True
    assert value("country_conflict", at("FR", "vpn"), german) is None
    assert value("country_conflict", at("FR", "vpn"), replace(german, phone_country="FR")) is True


def test_records_are_named_once() -> None:
    subject = replace(PERSON, billing_country="DE", phone_country="FR", signup_country="DE")
    assert value("account_countries", FACTS, subject) == ("DE", "FR")
    assert value("account_countries") is None


def test_declared_ownership() -> None:
    assert value("ownership") is None
    assert value("ownership", FACTS, replace(PERSON, ownership="attested")) == "attested"


def travelled(country: str | None, *, before_s: int, now: str | None) -> object:
    code = 0 if country is None else ord(country[0]) << 8 | ord(country[1])
    sighting = SIGHTING.pack(NOW_S - before_s, 1, 1, 1, 0, *[255] * 7, 0, code)
    window = see(None, sighting, NOW_S - before_s)
    return value("travel_kmh", replace(at(now), window=window))


def test_travel() -> None:
    assert travelled("DE", before_s=600, now="DE") == 0
    assert travelled("DE", before_s=600, now="FR") == 0
    assert travelled(None, before_s=600, now="FR") is None
    assert travelled("DE", before_s=600, now=None) is None
    assert travelled("DE", before_s=600, now="QQ") is None
    assert value("travel_kmh", replace(at("DE"), window=None)) is None
    fast, slow = travelled("DE", before_s=600, now="AU"), travelled("DE", before_s=86_400, now="AU")
    assert isinstance(fast, float)
    assert isinstance(slow, float)
    assert fast > 50_000
    assert 300 < slow < 700


@pytest.mark.parametrize(
    ("one", "other", "true_km"),
    [  # least distances between territories, rounded up, from an atlas
        ("DE", "FR", 0),
        ("GB", "FR", 34),
        ("ES", "MA", 14),
        ("CU", "US", 150),
        ("AU", "ID", 210),
        ("JP", "KR", 50),
        ("DE", "JP", 8_600),
        ("IS", "BR", 7_000),
        ("NZ", "GB", 17_500),
        ("RU", "US", 4),
        ("FR", "BR", 0),
    ],
)
def test_no_two_countries_are_said_to_be_further_apart_than_they_are(
    one: str, other: str, true_km: float
) -> None:
    said = least_km(one, other)
    assert said is not None
    assert said == least_km(other, one)
    assert said <= true_km


def test_some_countries_are_said_to_be_far_apart() -> None:
    far = [("DE", "AU"), ("JP", "BR"), ("GB", "ZA"), ("CA", "IN"), ("KE", "KR")]
    assert all((least_km(a, b) or 0) > 2_000 for a, b in far)


@given(st.sampled_from(list(combinations(sorted(CIRCLES), 2))))
def test_a_gap_is_no_wider_than_half_the_earth(pair: tuple[str, str]) -> None:
    said = least_km(*pair)
    assert said is not None
    assert 0 <= said <= 20_100


def test_the_table_is_on_the_globe() -> None:
    for circles in CIRCLES.values():
        for latitude, longitude, radius in circles:
            assert -90 <= latitude <= 90
            assert -180 <= longitude <= 180
            assert 0 < radius < 2_000
