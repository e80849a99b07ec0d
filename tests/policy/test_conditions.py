"""What a condition means, on known values and on unknown ones."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Level, Policy
from gateway.policy.operators import glob

from .builders import HEAD, compiled, problems, rule

SETS = "sets:\n  big: [m-1, m-2]\n  nets: [64500, 64501]\n"


def matches(when: str, *, extra: str = "", **values: Any) -> bool:
    policy = compiled(
        HEAD.replace("enforce", "shadow") + SETS + "rules:\n" + rule("r", when, extra=extra)
    )
    return holds(policy, values)


def holds(policy: Policy, values: dict[str, Any]) -> bool:
    row = tuple(values.get(spec.name) for spec in policy.signals)
    return policy.rules[0].when(row)


@pytest.mark.parametrize(
    ("when", "yes", "no"),
    [
        pytest.param("{tier: start}", {"tier": "start"}, {"tier": "scale"}, id="equal"),
        pytest.param("{tier: {eq: start}}", {"tier": "start"}, {"tier": "s"}, id="eq"),
        pytest.param("{tier: {not: start}}", {"tier": "scale"}, {"tier": "start"}, id="not"),
        pytest.param("{stream: true}", {"stream": True}, {"stream": False}, id="flag"),
        pytest.param("{model: {in: big}}", {"model": "m-2"}, {"model": "m-3"}, id="set"),
        pytest.param("{asn: {in: nets}}", {"asn": 64501}, {"asn": 1}, id="set of numbers"),
        pytest.param("{model: {in: [a, b]}}", {"model": "b"}, {"model": "c"}, id="list"),
        pytest.param(
            "{model: {not: {in: [a, b]}}}", {"model": "c"}, {"model": "b"}, id="not in list"
        ),
        pytest.param("{items: {gt: 3}}", {"items": 4}, {"items": 3}, id="gt"),
        pytest.param("{items: {gte: 3}}", {"items": 3}, {"items": 2}, id="gte"),
        pytest.param("{items: {lt: 3}}", {"items": 2}, {"items": 3}, id="lt"),
        pytest.param("{items: {lte: 3}}", {"items": 3}, {"items": 4}, id="lte"),
        pytest.param("{items: {gte: 3, lte: 3}}", {"items": 3}, {"items": 4}, id="one number"),
        pytest.param("{items: {gte: 2, lt: 4}}", {"items": 3}, {"items": 4}, id="range"),
        pytest.param("{suspicion: {gte: 1}}", {"suspicion": 1.0}, {"suspicion": 0.9}, id="ratio"),
        pytest.param(
            "{verification: {below: phone}}",
            {"verification": Level.EMAIL},
            {"verification": Level.PHONE},
            id="below",
        ),
        pytest.param(
            "{verification: {at_least: phone}}",
            {"verification": Level.PHONE},
            {"verification": Level.EMAIL},
            id="at least",
        ),
        pytest.param(
            "{verification: none}",
            {"verification": Level.NONE},
            {"verification": Level.EMAIL},
            id="level",
        ),
        pytest.param(
            "{contracts: {contains: bulk}}", {"contracts": ("bulk",)}, {"contracts": ()}, id="has"
        ),
        pytest.param("{sdk: {prefix: op}}", {"sdk": "openai"}, {"sdk": "x-op"}, id="prefix"),
        pytest.param(
            "{sdk: {suffix: [ai, ic]}}", {"sdk": "anthropic"}, {"sdk": "x"}, id="one of suffixes"
        ),
        pytest.param('{sdk: {glob: "a*c"}}', {"sdk": "abbc"}, {"sdk": "abbcd"}, id="glob"),
        pytest.param(
            "{tier: a, model: b}",
            {"tier": "a", "model": "b"},
            {"tier": "a", "model": "x"},
            id="all entries of a table",
        ),
        pytest.param(
            "{tier: a, model: b, items: 1}",
            {"tier": "a", "model": "b", "items": 1},
            {"tier": "a", "model": "b", "items": 2},
            id="three entries",
        ),
        pytest.param(
            "{any: [{tier: a}, {tier: b}, {tier: c}]}", {"tier": "c"}, {"tier": "d"}, id="any"
        ),
        pytest.param(
            "{all: [{items: {gt: 1}}, {items: {lt: 3}}]}", {"items": 2}, {"items": 3}, id="all"
        ),
        pytest.param(
            "{not: {tier: a, model: b}}",
            {"tier": "a", "model": "c"},
            {"tier": "a", "model": "b"},
            id="not a table",
        ),
        pytest.param(
            "{not: {any: [{tier: a}, {not: {model: b}}]}}",
            {"tier": "x", "model": "b"},
            {"tier": "x", "model": "c"},
            id="not of any of not",
        ),
        pytest.param("{tier: {exists: true}}", {"tier": "a"}, {"tier": None}, id="exists"),
        pytest.param("{tier: {exists: false}}", {"tier": None}, {"tier": "a"}, id="exists not"),
        pytest.param(
            "{not: {tier: {exists: true}}}", {"tier": None}, {"tier": "a"}, id="not exists"
        ),
    ],
)
def test_a_comparison_holds_for_one_and_not_for_the_other(
    when: str, yes: dict[str, Any], no: dict[str, Any]
) -> None:
    assert matches(when, **yes) is True
    assert matches(when, **no) is False


@pytest.mark.parametrize(
    "when",
    [
        "{tier: a}",
        "{tier: {not: a}}",
        "{not: {tier: a}}",
        "{not: {not: {tier: a}}}",
        "{items: 1, tier: {in: [a]}}",
        "{not: {items: 1, tier: a}}",
        "{not: {any: [{items: 2}, {tier: a}]}}",
        "{tier: {exists: true, not: a}}",
        "{tier: {eq: a, on_unknown: no_match}}",
        "{not: {tier: {eq: a, on_unknown: match}}}",
    ],
)
def test_an_unknown_value_never_matches_by_itself(when: str) -> None:
    assert matches(when, tier=None, items=1) is False


@pytest.mark.parametrize(
    ("when", "extra"),
    [
        ("{tier: a}", ", on_unknown: match"),
        ("{not: {tier: a}}", ", on_unknown: match"),
        ("{items: 1, tier: {not: a}}", ", on_unknown: match"),
        ("{tier: {eq: a, on_unknown: match}}", ""),
        ("{tier: {not: {in: [a]}, on_unknown: match}}", ""),
        ("{not: {tier: {eq: a, on_unknown: no_match}}}", ""),
        ("{any: [{tier: a}, {items: 1}]}", ""),
    ],
)
def test_an_unknown_value_matches_where_the_policy_says_so_or_it_decides_nothing(
    when: str, extra: str
) -> None:
    assert matches(when, extra=extra, tier=None, items=1) is True


# ── the law: exactly Kleene's three values ───────────────────────────────────────────────────

LEAVES: dict[str, tuple[list[Any], str, Callable[[Any], bool]]] = {
    "tier": (["a", "b", None], "{tier: a}", lambda v: v == "a"),
    "model": (["m", "n", None], "{model: {not: m}}", lambda v: v != "m"),
    "asn": ([1, 5, None], "{asn: {gte: 3}}", lambda v: v >= 3),
}
trees = st.recursive(
    st.sampled_from(sorted(LEAVES)),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)
rows = st.fixed_dictionaries({name: st.sampled_from(leaf[0]) for name, leaf in LEAVES.items()})


def text_of(tree: Any) -> str:
    if isinstance(tree, str):
        return LEAVES[tree][1]
    if tree[0] == "not":
        return f"{{not: {text_of(tree[1])}}}"
    return f"{{{tree[0]}: [{', '.join(map(text_of, tree[1]))}]}}"


def kleene(tree: Any, row: dict[str, Any]) -> bool | None:
    if isinstance(tree, str):
        return None if row[tree] is None else bool(LEAVES[tree][2](row[tree]))
    if tree[0] == "not":
        inner = kleene(tree[1], row)
        return None if inner is None else not inner
    values = [kleene(part, row) for part in tree[1]]
    decisive: bool = tree[0] == "any"
    if decisive in values:
        return decisive
    return None if None in values else not decisive


@given(trees, rows)
def test_a_condition_holds_exactly_when_it_is_certainly_true(
    tree: Any, row: dict[str, Any]
) -> None:
    assert matches(text_of(tree), **row) is (kleene(tree, row) is True)


@given(trees, rows)
def test_with_on_unknown_match_it_holds_exactly_when_it_is_not_certainly_false(
    tree: Any, row: dict[str, Any]
) -> None:
    held = matches(text_of(tree), extra=", on_unknown: match", **row)
    assert held is (kleene(tree, row) is not False)


# ── patterns ─────────────────────────────────────────────────────────────────────────────────


@given(
    st.text("ab*", min_size=1, max_size=12).filter(lambda p: "*" in p), st.text("ab", max_size=20)
)
def test_a_glob_matches_as_a_shell_pattern_of_stars_does(pattern: str, text: str) -> None:
    assert glob(pattern)(text) == fnmatch.fnmatchcase(text, pattern)


def test_a_hostile_text_against_a_hostile_glob_takes_no_time() -> None:
    matches_it = glob("*a" * 100 + "b")
    started = time.process_time()
    assert not matches_it("a" * 100_000)
    assert time.process_time() - started < 0.1


# ── mistakes ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("when", "message"),
    [
        (
            "{cluster_sise: 3}",
            "when.cluster_sise: no such signal; did you mean cluster_size?",
        ),
        ("{zzzz: 3}", "when.zzzz: no such signal; docs/reference/signals.md lists them"),
        ("{nott: {tier: a}}", "when.nott: no such signal; did you mean not?"),
        ("{items: {gtr: 3}}", "when.items.gtr: no such comparison of items; did you mean gt?"),
        ("{model: {in: bog}}", "when.model.in: no such set; did you mean big?"),
        (
            "{asn: {in: big}}",
            "when.asn.in: set big holds text, asn is a whole number",
        ),
        ("{asn: AS1}", "when.asn: asn is a whole number, not 'AS1'"),
        ("{asn: {gt: many}}", "when.asn.gt: must be a number, not 'many'"),
        ("{tier: 1}", "when.tier: tier is text, not 1: write \"1\""),
        ("{stream: 'true'}", "when.stream: stream is true or false, not 'true'"),
        ("{items: true}", "when.items: items is a whole number, not true"),
        ("{items: 1.5}", "when.items: items is a whole number, not 1.5"),
        ("{tier: ~}", "when.tier: tier cannot equal nothing: write {exists: false}"),
        ("{tier: [a, b]}", "when.tier: must be one value: write {in: [a, b]}"),
        ("{tier: {in: []}}", "when.tier.in: must be a list of 1 to 1000 values, or a set's name"),
        ("{tier: {}}", "when.tier: is empty: compare it with something"),
        ("{tier: {not: {}}}", "when.tier.not: is empty: compare it with something"),
        ("{tier: {on_unknown: match}}", "when.tier: is empty: compare it with something"),
        (
            "{tier: {eq: a, on_unknown: yes}}",
            "when.tier.on_unknown: must be match or no_match, not 'yes'",
        ),
        ("{tier: {exists: yes}}", "when.tier.exists: must be true or false, not 'yes'"),
        ("{tier: {exists: false, eq: a}}", "when.tier: exists: false goes alone"),
        (
            "{tier: {not: {exists: true}}}",
            "when.tier.not.exists: exists stands beside the comparisons, not inside of not",
        ),
        ("{status: bannned}", "when.status: status is never 'bannned'; did you mean banned?"),
        (
            "{route: openai.chat}",
            "when.route: route is never 'openai.chat'; did you mean openai.chat_completions?",
        ),
        (
            "{country: Germany}",
            "when.country: 'Germany' is no country: two capital letters (ISO 3166-1)",
        ),
        (
            "{email_domain: Example.org}",
            "when.email_domain: 'Example.org' never matches: domains are compared in lower case",
        ),
        (
            "{verification: {below: phoen}}",
            "when.verification.below: 'phoen' is no level; did you mean phone?",
        ),
        ("{verification: {below: none}}", "when.verification.below: no level is below none"),
        (
            "{sdk: {prefix: [a, 7]}}",
            "when.sdk.prefix: must be text of 1 to 256 characters, not 7",
        ),
        ("{sdk: {suffix: ''}}", "when.sdk.suffix: must be text of 1 to 256 characters, not ''"),
        ("{sdk: {glob: abc}}", "when.sdk.glob: must be a text with at least one * "
         "(which stands for any text)"),
        ("{contracts: bulk}", "when.contracts: must say how: {contains: …}"),
        ("{items: {gt: 5, lt: 3}}", "when.items: never holds: no number is in this range"),
        ("{items: {gt: 3, lte: 3}}", "when.items: never holds: no number is in this range"),
        ("{items: {eq: 3, lt: 3}}", "when.items: never holds: no number is in this range"),
        (
            "{suspicion: {gte: 85}}",
            "when.suspicion: never holds: suspicion is 0 to 1; did you mean 0.85?",
        ),
        ("{suspicion: {gt: 1}}", "when.suspicion: never holds: suspicion is 0 to 1"),
        (
            "{suspicion: {in: [60, 90]}}",
            "when.suspicion: never holds: suspicion is 0 to 1; did you mean 0.6?",
        ),
        (
            "{task_synthesis: {gte: 80, lt: 95}}",
            "when.task_synthesis: never holds: task_synthesis is 0 to 1; did you mean 0.8?",
        ),
        ("{collecting: 2000}", "when.collecting: never holds: collecting is 0 to 1"),
        (
            "{account_age_s: {lt: -5}}",
            "when.account_age_s: never holds: account_age_s is 0 or more",
        ),
        ("{requests_24h: {lt: 0}}", "when.requests_24h: never holds: requests_24h is 0 or more"),
        (
            "{distinct_networks_24h: {gt: 111}}",
            "when.distinct_networks_24h: never holds: distinct_networks_24h is 0 to 111",
        ),
        (
            "{asn: {gt: 4294967295}}",
            "when.asn: never holds: asn is 0 to 4294967295",
        ),
        (
            "{email_domain: {in: ['@mailinator.com']}}",
            "when.email_domain.in: '@mailinator.com' never matches: a domain is what stands "
            "behind the @; did you mean 'mailinator.com'?",
        ),
        (
            "{email_domain: {suffix: a@b.example}}",
            "when.email_domain.suffix: 'a@b.example' never matches: a domain is what stands "
            "behind the @; did you mean 'b.example'?",
        ),
        (
            "{email_domain: '*.example'}",
            "when.email_domain: '*.example' never matches: write {glob: '*.example'}",
        ),
        (
            "{email_domain: .example}",
            "when.email_domain: '.example' never matches: write {suffix: '.example'}",
        ),
        (
            "{email_domain: 'mail inator.com'}",
            "when.email_domain: 'mail inator.com' never matches: domains have neither / nor spaces",
        ),
        (
            "{path: v1/models}",
            "when.path: 'v1/models' never matches: paths begin with /; did you mean '/v1/models'?",
        ),
        (
            "{path: {prefix: v1/}}",
            "when.path.prefix: 'v1/' never matches: paths begin with /; did you mean '/v1/'?",
        ),
        (
            "{path: {glob: 'v1/*'}}",
            "when.path.glob: 'v1/*' never matches: paths begin with /; did you mean '/v1/*'?",
        ),
        (
            "{path: '/v1/models?x=1'}",
            "when.path: '/v1/models?x=1' never matches: a path is what stands before the ?",
        ),
        (
            "{client_network: 203.0.113.7}",
            "when.client_network: never matches: client_network is a keyed hash of 32 hex digits, "
            "never what was sent",
        ),
        (
            "{client_network: {prefix: 203.0.113.}}",
            "when.client_network.prefix: never matches: client_network is a keyed hash of 32 hex "
            "digits, never what was sent",
        ),
        (
            "{key: {in: [sk-secret]}}",
            "when.key.in: never matches: key is a keyed hash of 32 hex digits, never what was sent",
        ),
        (
            "{payment: pf_9}",
            "when.payment: never matches: payment is a keyed hash of 32 hex digits, never what "
            "was sent",
        ),
        (
            "{model: 'claude-*'}",
            "when.model: 'claude-*' never matches: write {glob: 'claude-*'}",
        ),
        (
            "{model: {in: [gpt-5, 'gpt-5*']}}",
            "when.model.in: 'gpt-5*' never matches: write {glob: 'gpt-5*'}",
        ),
        (
            "{model: {prefix: 'gpt-5*'}}",
            "when.model.prefix: 'gpt-5*' never matches: * stands for any text under glob only",
        ),
        (
            "{sdk: openai-python}",
            "when.sdk: 'openai-python' never matches: an SDK has a version; write "
            "{prefix: 'openai-python/'}",
        ),
        (
            "{sdk: {prefix: OpenAI-}}",
            "when.sdk.prefix: 'OpenAI-' never matches: names of SDKs are compared in lower case",
        ),
        ("{country: UK}", "when.country: 'UK' never matches; did you mean GB?"),
        (
            "{account_countries: {any_in: [DE, EL]}}",
            "when.account_countries.any_in: 'EL' never matches; did you mean GR?",
        ),
        ("{task: gradin}", "when.task: task is never 'gradin'; did you mean grading?"),
        (
            "{received_s: {gte: 1796000000000}}",
            "when.received_s: never holds: received_s is 0 to 253402300799",
        ),
        (
            "{account_age_s: {lt: 7d}}",
            "when.account_age_s.lt: must be a number, not '7d': in seconds, write 604800",
        ),
        ("{any: []}", "when.any: must be a list of at least one table"),
        ("{any: {tier: a}}", "when.any: must be a list of at least one table"),
        ("{any: [3]}", "when.any[0]: must be a table of conditions, not 3"),
        ("{not: [{tier: a}]}", "when.not: must be a table of conditions, not a list"),
        ("{}", "when: is empty: it would hold for every request"),
        ("~", "when: must be a table of conditions, not nothing"),
        ("7", "when: must be a table of conditions, not 7"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(when: str, message: str) -> None:
    text = HEAD + "rules:\n" + rule("r", when, extra=", on_unknown: no_match") + SETS
    errors = [p for p in problems(text) if ": warning: " not in p]
    assert errors == [f"a.yaml:4: rules[0].{message}"]


@pytest.mark.parametrize(
    "when",
    [
        "{suspicion: {gte: 1}}",
        "{suspicion: {lte: 0}}",
        "{suspicion: 0}",
        "{suspicion: {in: [0.5, 90]}}",
        "{account_age_s: {lt: 1}}",
        "{known_before_cluster_s: {lt: -5}}",
        "{temperature: {gte: 85}}",
        "{distinct_networks_24h: {gte: 111}}",
        "{email_domain: corp}",
        "{key: 0123456789abcdef0123456789abcdef}",
        "{client_network: {glob: '0123*'}}",
        "{model: {glob: 'claude-*'}}",
        "{sdk: openai-python/2.0.0}",
        "{sdk: {suffix: /2.0.0}}",
        "{received_s: {gte: 1796000000}}",
        "{email_domain: {suffix: .example}}",
        "{email_domain: {glob: '*.example'}}",
        "{path: {glob: '*/models'}}",
        "{path: {suffix: models}}",
        "{path: /v1/models}",
    ],
)
def test_what_may_hold_is_no_mistake(when: str) -> None:
    text = HEAD + "rules:\n" + rule("r", when, extra=", on_unknown: no_match")
    assert [p for p in problems(text) if ": warning: " not in p] == []


def test_a_set_with_a_text_that_no_domain_is_is_an_error_where_it_is_used() -> None:
    text = (
        HEAD
        + "rules:\n"
        + rule("r", "{email_domain: {in: mail}, items: 1}", extra=", on_unknown: match")
    )
    (found,) = problems(text + "sets:\n  mail: [a.example, '@b.example']\n")
    assert found.startswith("a.yaml:4: rules[0].when.email_domain.in: '@b.example' never matches")


def test_too_many_comparisons_ask_for_a_set() -> None:
    tables = ", ".join(f"{{tier: t{n}}}" for n in range(201))
    text = HEAD + "rules:\n" + rule("r", f"{{any: [{tables}]}}", extra=", on_unknown: match")
    assert problems(text) == ["a.yaml:4: rules[0].when: over 200 comparisons: use a set"]


def test_saying_what_happens_to_a_known_signal_is_a_warning() -> None:
    text = HEAD + "rules:\n" + rule("r", "{items: {gt: 1, on_unknown: match}}")
    assert problems(text) == [
        "a.yaml:4: rules[0].when.items.on_unknown: warning: has no effect: items is always known"
    ]


def test_a_rule_over_two_signals_takes_less_than_a_microsecond() -> None:
    policy = compiled(
        HEAD
        + "rules:\n"
        + rule(
            "r",
            "{cluster_size: {gte: 10}, verification: {below: phone}}",
            then="{verify: phone}",
            extra=", on_unknown: no_match",
        )
    )
    when, row = policy.rules[0].when, (12, Level.EMAIL)
    best_s = min(timed(lambda: when(row), 2_000) for _ in range(20))
    assert best_s < 1e-6


def timed(call: Any, times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - started) / times
