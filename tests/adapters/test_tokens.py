from __future__ import annotations

from typing import Any

import pytest

from gateway.adapters.tokens import MAX_TOKENS, Told, told_by_anthropic, told_by_openai
from gateway.model import Usage

OPENAI = [
    pytest.param(
        {"prompt_tokens": 9, "completion_tokens": 4}, Usage(9, 0, 4), id="chat-without-details"
    ),
    pytest.param(
        {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 5}},
        Usage(9, 5, None),
        id="cached-is-part-of-the-input",
    ),
    pytest.param(
        {
            "input_tokens": 9,
            "output_tokens": 2,
            "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 3},
        },
        Usage(9, 5, 2),
        id="responses",
    ),
    pytest.param({"prompt_tokens": 8, "total_tokens": 8}, Usage(8, 0, None), id="embeddings"),
    pytest.param(
        {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 5}},
        Usage(3, 3, None),
        id="more-cached-than-input",
    ),
    pytest.param(
        {"prompt_tokens": 3, "prompt_tokens_details": None}, Usage(3, 0, None), id="details-null"
    ),
    pytest.param({"prompt_tokens": None}, Usage(), id="null"),
    pytest.param({"prompt_tokens": True, "completion_tokens": -1}, Usage(), id="no-counts"),
    pytest.param({"prompt_tokens": 2.0, "completion_tokens": "9"}, Usage(), id="no-whole-numbers"),
    pytest.param({"prompt_tokens": MAX_TOKENS + 1}, Usage(), id="implausible"),
    pytest.param({}, Usage(), id="nothing"),
]
ANTHROPIC = [
    pytest.param({"input_tokens": 5, "output_tokens": 1}, Usage(5, 0, 1), id="no-cache"),
    pytest.param(
        {
            "input_tokens": 5,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 7,
            "output_tokens": 1,
        },
        Usage(112, 100, 1),
        id="input-is-what-is-left-beside-the-cache",
    ),
    pytest.param({"cache_read_input_tokens": 100}, Usage(), id="input-not-told"),
    pytest.param({"input_tokens": 5, "cache_read_input_tokens": None}, Usage(5), id="null-cache"),
]


@pytest.mark.parametrize(("told", "usage"), OPENAI)
def test_openai_usage_counts_cached_tokens_within_the_input(
    told: dict[str, Any], usage: Usage
) -> None:
    assert told_by_openai(told).usage() == usage


@pytest.mark.parametrize(("told", "usage"), ANTHROPIC)
def test_anthropic_usage_adds_cached_tokens_to_the_input(
    told: dict[str, Any], usage: Usage
) -> None:
    assert told_by_anthropic(told).usage() == usage


def test_a_later_count_replaces_an_earlier_one_only_where_it_is_told() -> None:
    earlier = Told(5, 100, 7, 1)
    assert earlier.updated(Told(output_tokens=40)) == Told(5, 100, 7, 40)
    assert earlier.updated(Told(0, 0, 0, 0)) == Told(0, 0, 0, 0)
    assert earlier.updated(Told()) == earlier
