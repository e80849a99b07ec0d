"""Two-way only: each of what makes a ring is asked for by itself."""

from __future__ import annotations

import pytest

from gateway.linking.rings import LEAST_GIVERS, LEAST_TAKERS, LEAST_TALKS, Rings


def crossed(*, talks: int, givers: int, takers: int) -> list[tuple[str, str]]:
    """Two accounts that bring each other's, and besides so much."""
    rings = Rings()
    for one, other in (("a", "b"), ("b", "a")):
        for n in range(talks):
            giver = other if n % givers == 0 else f"{one} giver {n % givers}"
            rings.cross(one, giver, f"{one} talk {n}")
        for n in range(takers - 1):
            rings.cross(f"{one} taker {n}", one, "elsewhere")
    return sorted(rings.settle())


@pytest.mark.parametrize(
    ("talks", "givers", "takers", "is_ring"),
    [
        pytest.param(LEAST_TALKS, LEAST_GIVERS, LEAST_TAKERS, True, id="just enough"),
        pytest.param(LEAST_TALKS - 1, LEAST_GIVERS, LEAST_TAKERS, False, id="few conversations"),
        pytest.param(LEAST_TALKS, LEAST_GIVERS - 1, LEAST_TAKERS, False, id="of one account"),
        pytest.param(LEAST_TALKS, LEAST_GIVERS, LEAST_TAKERS - 1, False, id="to one account"),
    ],
)
def test_who_brings_from_several_and_gives_to_several_is_in_a_ring(
    talks: int, givers: int, takers: int, is_ring: bool
) -> None:
    found = crossed(talks=talks, givers=givers, takers=takers)
    assert found == ([("a", "a"), ("b", "a")] if is_ring else [])
