"""Features of accounts and of groups: bounded, worked out of windows alone, and they fit the models
that are shipped."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.classifiers import account, cluster
from gateway.classifiers.account import account_values
from gateway.classifiers.cluster import LEAST_MEMBERS, MAX_MEMBERS, Population, cluster_values
from gateway.classifiers.load import load_account_model, load_cluster_model
from gateway.classifiers.model import ModelError
from gateway.core import window as at
from gateway.core.behaviour import Behaviour, read_window

NOW_S = 1_800_000_000 // at.DAY_S * at.DAY_S
END_S = NOW_S + at.DAY_S - 1


def behaviour(*seen: tuple[int, ...]) -> Behaviour:
    """`seen`: second of the day, output tokens, parameters' bit, task."""
    packed = None
    for second, tokens, parameters, task in seen:
        bits = (parameters, 3, at.NO_BIT, 4, at.NO_BIT, 5)
        one = at.SIGHTING.pack(NOW_S + second, 1, 200, tokens, 0, *bits, task, 9, 0)
        packed = at.see(packed, one, NOW_S + second)
    numbers = at.opened(packed, END_S)
    assert numbers is not None
    return Behaviour(numbers, END_S)


def customer(rng: Random) -> Behaviour:
    """A handful of requests in working hours of its own, with settings and tasks as they come."""
    begins = rng.randrange(6, 14) * at.HOUR_S
    seconds = sorted(begins + rng.randrange(6 * at.HOUR_S) for _ in range(rng.randrange(3, 60)))
    return behaviour(
        *[(s, rng.randrange(2_000), rng.randrange(9), rng.randrange(9)) for s in seconds]
    )


def member(rng: Random) -> Behaviour:
    """One of a pool: a request every half hour around the clock, always the same."""
    return behaviour(*[(s + rng.randrange(60), 900, 1, 1) for s in range(0, 86_000, 1_800)])


def group(kind: object, count: int, seed: int) -> list[Behaviour]:
    rng = Random(seed)
    return [kind(rng) for _ in range(count)]  # type: ignore[operator]


@given(
    st.lists(
        st.tuples(
            st.integers(0, at.DAY_S - 1),
            st.integers(0, at.U32),
            st.integers(0, 255),
            st.integers(0, 255),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_every_value_of_an_account_lies_between_none_and_all(seen: list[tuple[int, ...]]) -> None:
    values = account_values(behaviour(*seen))
    assert len(values) == len(account.FEATURES.features)
    assert all(0.0 <= value <= 1.0 for value in values)


def test_a_group_beside_itself_is_neither_far_nor_rare() -> None:
    customers = group(customer, 60, 1)
    values = dict(
        zip(
            cluster.FEATURES.names,
            cluster_values(customers, Population(customers), size=60),
            strict=True,
        )
    )
    assert all(0.0 <= value <= 1.0 for value in values.values())
    assert all(value < 0.01 for name, value in values.items() if name.startswith(("far_", "rare_")))
    assert all(value < 0.01 for name, value in values.items() if name.startswith("alike_"))


def test_a_pool_is_alike_within_and_far_from_everybody() -> None:
    population = Population(group(customer, 100, 2))
    pool = dict(
        zip(
            cluster.FEATURES.names,
            cluster_values(group(member, 20, 3), population, size=20),
            strict=True,
        )
    )
    others = dict(
        zip(
            cluster.FEATURES.names,
            cluster_values(group(customer, 20, 4), population, size=20),
            strict=True,
        )
    )
    for name in ("alike_volume", "alike_many_hours", "far_many_hours", "same_hours", "rare_hours"):
        assert pool[name] > others[name] + 0.2, name


def test_the_shipped_models_read_both_levels() -> None:
    of_account, of_cluster = load_account_model(), load_cluster_model()
    population = Population(group(customer, 100, 5))
    pool = of_cluster.scores(cluster_values(group(member, 20, 6), population, size=20))[0]
    customers = of_cluster.scores(cluster_values(group(customer, 20, 7), population, size=20))[0]
    assert pool > 0.9 > 0.1 > customers
    assert of_account.heads == (account.HEAD,)
    assert of_cluster.heads == (cluster.HEAD,)
    assert 0.0 <= of_account.scores(account_values(member(Random(8))))[0] <= 1.0


def test_the_order_of_members_changes_nothing() -> None:
    population, pool = Population(group(customer, 50, 10)), group(member, 30, 11)
    found = cluster_values(pool, population, size=30)
    assert cluster_values(pool[::-1], population, size=30) == pytest.approx(found)


def test_work_is_bounded_and_too_few_are_refused() -> None:
    crowd = group(customer, 8, 12) * 100
    assert Population(crowd).count == cluster.MAX_POPULATION
    assert len(cluster_values(crowd, Population(crowd), size=800)) == len(cluster.FEATURES.names)
    assert len(crowd) > MAX_MEMBERS
    with pytest.raises(ValueError, match="too few"):
        Population(crowd[: LEAST_MEMBERS - 1])


def test_a_model_of_another_level_is_refused_by_name() -> None:
    raw = b'{"format":1,"features":"cluster/1","heads":{"x":{"bias":0,"weights":{}}}}'
    with pytest.raises(ModelError, match="trained on cluster/1"):
        account.read_account_model(raw, "m.json")


@pytest.mark.parametrize("seed", range(20))
def test_the_score_of_a_window_is_the_models_own(seed: int) -> None:
    rng, model = Random(seed), load_account_model()
    packed = None
    for second in sorted(rng.randrange(at.DAY_S) for _ in range(rng.randrange(1, 80))):
        bits = [rng.randrange(40) for _ in range(6)]
        one = at.SIGHTING.pack(NOW_S + second, 1, 100, 900, second % 16, *bits, second % 12, 7, 0)
        packed = at.see(packed, one, NOW_S + second)
    seen = read_window(packed, END_S)
    assert seen is not None
    assert account.score_account(model, packed, END_S) == model.scores(account_values(seen))[0]
    assert account.score_account(model, None, END_S) is None
