"""A warning where a caller brings its own quotas along, and none where that gains it nothing."""

from __future__ import annotations

import pytest

from .builders import compiled, limit, problems

HEAD = "version: 1\nmode: enforce\nlimits:\n"
WARNING = (
    "a.yaml:4: limits[0].by: warning: the caller chooses {what}, and each value has a quota of its "
    "own: bound {cost} by account too, or name the values in when"
)

ALONE = [
    ("by: user_agent", "user_agent", "requests"),
    ("by: model", "model", "requests"),
    ("by: [account, end_user]", "end_user", "requests"),
    ("by: [model, sdk]", "model and sdk", "requests"),
    ("by: path, cost: concurrency", "path", "concurrency"),
    ("by: model, when: {model: {not: m-1}}, on_unknown: no_match", "model", "requests"),
    ("by: model, when: {tier: start}, on_unknown: no_match", "model", "requests"),
]


@pytest.mark.parametrize(("text", "what", "cost"), ALONE, ids=[text for text, _, _ in ALONE])
def test_a_limit_by_what_the_caller_makes_up_is_a_warning(text: str, what: str, cost: str) -> None:
    quota = "quota: 5" if "concurrency" in text else "quota: 5/min"
    said = problems(HEAD + limit("one", f"{text}, {quota}"))
    assert said == [WARNING.format(what=what, cost=cost)]


@pytest.mark.parametrize(
    "text",
    [
        "by: account",
        "by: [account, route]",
        "by: [client_network, stream]",
        "by: country",
        "by: model, when: {model: {in: [m-1, m-2]}}, on_unknown: no_match",
        "by: model, when: {model: m-1}, on_unknown: no_match",
    ],
)
def test_a_limit_by_what_is_given_is_no_warning(text: str) -> None:
    assert problems(HEAD + limit("one", f"{text}, quota: 5/min")) == []


OTHERS = [
    ("by: account, quota: 9/min", "quota: 5/min", True),
    ("by: global, quota: 9/min", "quota: 5/min", True),
    ("by: [account, key], quota: 9/min", "quota: 5/min", True),
    ("by: account, quota: 9k/min, cost: total_tokens", "quota: 5k/min, cost: output_tokens", True),
    ("by: account, quota: 9k/min, cost: input_tokens", "quota: 5k/min, cost: total_tokens", False),
    ("by: account, quota: 9/min, mode: shadow", "quota: 5/min, mode: shadow", True),
    ("by: account, quota: 9/min, mode: shadow", "quota: 5/min", False),
    ("by: account, quota: 9k/min, cost: total_tokens", "quota: 5/min", False),
    ("by: account, quota: 9/min, when: {is_inference: true}", "quota: 5/min", False),
    ("by: account, tiers: {start: 9/min}", "quota: 5/min", False),
    ("by: org, quota: 9/min", "quota: 5/min", False),
    ("by: [account, end_user], quota: 9/min", "quota: 5/min", False),
]


@pytest.mark.parametrize(
    ("other", "one", "is_bound"), OTHERS, ids=[f"{a} | {b}" for a, b, _ in OTHERS]
)
def test_another_limit_excuses_it_only_where_it_bounds_the_same(
    other: str, one: str, is_bound: bool
) -> None:
    said = problems(HEAD + limit("one", f"by: model, {one}") + limit("two", other))
    assert any("limits[0].by: warning" in line for line in said) is not is_bound


def test_a_warning_keeps_nothing_from_being_used() -> None:
    assert compiled(HEAD + limit("one", "by: user_agent, quota: 5/min")).limits[0].name == "one"
