"""Registering a signal: what is refused at import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.model import RequestFacts, Subject
from gateway.registry import RESERVED_NAMES, signal
from gateway.signals import all_signals


def plain(facts: RequestFacts, subject: Subject) -> int:
    """A signal."""
    return 1


def undocumented(facts: RequestFacts, subject: Subject) -> int:
    return 1


def of_bytes(facts: RequestFacts, subject: Subject) -> bytes:
    """A signal."""
    return b""


@pytest.mark.parametrize(
    ("name", "kind", "read", "message"),
    [
        pytest.param("tier", str, plain, "tier is defined twice", id="taken"),
        pytest.param("all", int, plain, "no word of the language", id="reserved"),
        pytest.param("Tier", int, plain, "snake_case", id="not snake_case"),
        pytest.param("brand_new", str, plain, "type=str, but it returns", id="another type"),
        pytest.param("brand_new", bytes, of_bytes, "cannot compare bytes", id="not comparable"),
        pytest.param("brand_new", int, undocumented, "no docstring", id="undocumented"),
    ],
)
def test_a_signal_that_policies_could_not_use_fails_at_import(
    name: str, kind: type, read: Callable[[RequestFacts, Subject], Any], message: str
) -> None:
    before = dict(all_signals())
    with pytest.raises(ValueError, match=message):
        signal(name, type=kind)(read)
    assert dict(all_signals()) == before


def test_no_signal_is_called_like_a_word_of_the_language() -> None:
    assert not RESERVED_NAMES & all_signals().keys()


def test_every_score_and_share_is_0_to_1_and_every_count_and_age_0_or_more() -> None:
    unbounded = {"temperature", "known_before_cluster_s"}
    for spec in all_signals().values():
        if spec.value_type not in (int, float) or spec.name in unbounded:
            continue
        assert 0 <= spec.low < spec.high, spec.name
        is_ratio = spec.name.startswith("task_") or "_share_" in spec.name
        if is_ratio or spec.name in ("suspicion", "collecting"):
            assert (spec.low, spec.high) == (0, 1), spec.name
