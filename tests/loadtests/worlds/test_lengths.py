"""Token lengths: kinds, bounds and that accounts of one kind differ."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.loadtests.worlds import lengths

KINDS = ("agent", "batch", "chat", "code", "reason", "summarise")


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_every_kind_is_there() -> None:
    assert tuple(sorted(lengths.load().kinds)) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_whole_and_within_bounds(kind: str) -> None:
    for counts in lengths.load().sample(kind, rng(), 5000):
        assert counts.dtype == np.int64
        assert counts.shape == (5000,)
        assert counts.min() >= 1
        assert counts.max() <= lengths.MAX_TOKENS


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_lengths(kind: str) -> None:
    model = lengths.load()
    for first, second in zip(
        model.sample(kind, rng(), 100), model.sample(kind, rng(), 100), strict=True
    ):
        assert np.array_equal(first, second)


def test_an_unknown_kind_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="'poems'; known: agent, batch, chat"):
        lengths.load().sample("poems", rng(), 1)


def test_agents_read_much_more_than_they_write_and_reasoners_write_more() -> None:
    model = lengths.load()
    medians = {kind: [np.median(x) for x in model.sample(kind, rng(), 4000)] for kind in KINDS}
    assert medians["agent"][0] > 8 * medians["agent"][1]
    assert medians["reason"][1] > medians["reason"][0]


def test_accounts_of_one_kind_differ_more_than_one_account_does() -> None:
    model = lengths.load()
    draws = rng()
    own = [np.log(model.profile("chat", draws).sample(draws, 200)[0]) for _ in range(200)]
    between = np.std([np.median(values) for values in own])
    within = np.median([np.std(values) for values in own])
    assert between > within
