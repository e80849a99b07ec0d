"""Files to one policy: what each part becomes, and every finding with its place."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import SECOND_US, Level, Mode, OnStoreError, Rule, Verdict
from gateway.policy.names import RESERVED
from gateway.policy.source import MAX_PROBLEMS

from .builders import HEAD, WHY, compile_text, compiled, limit, problems, rule

GATEWAY = Path(__file__).parents[2] / "gateway"
VERIFY = "{verification: {below: phone}}"


def only_rule(text: str) -> Rule:
    return compiled(HEAD + "rules:\n" + text).rules[0]


# ── what things become ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("then", "verdict", "level", "wait_us", "status"),
    [
        ("{deny: {}}", Verdict.DENY, None, 0, 403),
        ("{deny: {status: 451}}", Verdict.DENY, None, 0, 451),
        ("{verify: phone}", Verdict.VERIFY, Level.PHONE, 0, 403),
        ("{throttle: 30s}", Verdict.THROTTLE, None, 30 * SECOND_US, 403),
    ],
)
def test_then_says_the_verdict(
    then: str, verdict: Verdict, level: Level | None, wait_us: int, status: int
) -> None:
    found = only_rule(rule("r", VERIFY, then=then))
    assert (found.verdict, found.level, found.retry_after_us, found.status) == (
        verdict,
        level,
        wait_us,
        status,
    )
    assert found.message
    assert found.source == "a.yaml:4"


def test_a_message_is_kept_and_the_default_one_tells_nothing_of_the_rule() -> None:
    assert only_rule(rule("r", VERIFY, extra=", message: Ask us.")).message == "Ask us."
    assert only_rule(rule("r", VERIFY)).message != "r"


def test_the_head_of_a_policy() -> None:
    policy = compiled(
        "version: 1\nname: mine\nmode: shadow\nunknown_credentials: adopt\n"
        "on_store_error: allow\nappeal: abuse@example.org\n"
    )
    assert (policy.name, policy.adopts_unknown, policy.on_store_error, policy.appeal) == (
        "mine",
        True,
        OnStoreError.ALLOW,
        "abuse@example.org",
    )


def test_what_a_policy_does_not_say_is_the_closed_choice() -> None:
    policy = compiled(HEAD)
    assert (policy.adopts_unknown, policy.on_store_error) == (False, OnStoreError.DENY)


def test_a_rule_may_have_a_mode_of_its_own() -> None:
    text = rule("a", VERIFY) + rule("b", VERIFY, extra=", mode: shadow")
    modes = {r.name: r.mode for r in compiled(HEAD + "rules:\n" + text).rules}
    assert modes == {"a": Mode.ENFORCE, "b": Mode.SHADOW}


def test_the_files_of_a_folder_are_one_policy() -> None:
    policy = compiled(
        HEAD + "rules:\n" + rule("a", VERIFY),
        "version: 1\nrules:\n" + rule("b", VERIFY),
        "limits:\n" + limit("c", "by: account, quota: 1/s"),
    )
    assert policy.names == {"a", "b", "c"}


def test_only_the_signals_that_a_policy_names_are_read() -> None:
    policy = compiled(HEAD + "rules:\n" + rule("a", "{items: 1, stream: {exists: true}}"))
    assert [spec.name for spec in policy.signals] == ["items", "stream"]


# ── revision ─────────────────────────────────────────────────────────────────────────────────

BASE = HEAD + "rules:\n" + rule("a", "{model: {in: big}}", extra=", on_unknown: match")
BIG = "source: here\nreviewed: 2026-11-20\nowner: me\nvalues: [a, b]\n"


def revision(text: str = BASE, big: str = BIG, **more: str) -> str:
    return compiled(text, sets={"big": big, **more}).revision


def test_the_revision_is_twelve_hex_digits_and_the_same_every_time() -> None:
    assert revision() == revision()
    assert len(revision()) == 12
    assert set(revision()) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(revision("# a comment\n" + BASE), id="comment"),
        pytest.param(revision(BASE.replace("mode: enforce", "mode:    'enforce'")), id="layout"),
        pytest.param(revision(big=BIG.replace("[a, b]", "[b, a]")), id="order of a set"),
        pytest.param(revision(other=BIG), id="a set that is not used"),
    ],
)
def test_the_revision_does_not_change_with_what_means_nothing(same: str) -> None:
    assert same == revision()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(revision(BASE.replace("name: a", "name: b")), id="name"),
        pytest.param(revision(BASE.replace("on_unknown: match", "on_unknown: no_match")), id="key"),
        pytest.param(revision(big=BIG.replace("[a, b]", "[a, c]")), id="value of a used set"),
    ],
)
def test_the_revision_changes_with_what_means_something(other: str) -> None:
    assert other != revision()


# ── findings ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mode: enforce", "a.yaml:1: version: is required: version: 1"),
        (
            "version: 1",
            "a.yaml:1: mode: is required: mode: enforce, or mode: shadow to watch first",
        ),
        ("version: 2\nmode: shadow", "a.yaml:1: version: must be 1, not 2"),
        ("version: 1\nmode: on", "a.yaml:2: mode: must be enforce or shadow, not 'on'"),
        (HEAD + "rulse: []", "a.yaml:3: rulse: no such key; did you mean rules?"),
        (HEAD + "appeal: 7", "a.yaml:3: appeal: must be text, not 7"),
        (HEAD + "rules: {}", "a.yaml:3: rules: must be a list, not a table"),
        (HEAD + "rules: [3]", "a.yaml:3: rules[0]: must be a table, not 3"),
        ("[]", "a.yaml:1: must be a table, not a list"),
        (HEAD + "mode: shadow", "a.yaml:3: mode: comes twice, first in line 2"),
        (HEAD + "name: A b", "a.yaml:3: name: 'A b' must be 1 to 40 of a-z, 0-9, - and _, "
         "not - or _ first"),
        (HEAD + "appeal: ''", "a.yaml:3: appeal: must have at least 1 characters"),
        (HEAD + 'appeal: "a\\nb"', "a.yaml:3: appeal: must be printable text in one line"),
    ],
)  # fmt: skip
def test_a_mistake_at_the_top(text: str, message: str) -> None:
    found = problems(text)
    assert message in found
    assert len(found) <= 3


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{}", ".name: is required"),
        (
            f"{{name: a b, {WHY}, when: {VERIFY}, then: {{deny: {{}}}}}}",
            ".name: 'a b' must be 1 to 40 of a-z, 0-9, - and _, not - or _ first",
        ),
        (
            f"{{name: store-unavailable, {WHY}, when: {VERIFY}, then: {{deny: {{}}}}}}",
            ".name: store-unavailable is a reason of the gateway's own",
        ),
        (
            f"{{name: a, why: short, when: {VERIFY}, then: {{deny: {{}}}}}}",
            ".why: must have at least 10 characters",
        ),
        (
            f"{{name: a, {WHY}, when: {VERIFY}, then: {{}}}}",
            ".then: must say one of deny: {}, verify: phone or throttle: 30s",
        ),
        (
            f"{{name: a, {WHY}, when: {VERIFY}, then: {{deny: {{}}, verify: phone}}}}",
            ".then: must say one of deny: {}, verify: phone or throttle: 30s, not deny and verify",
        ),
        (
            f"{{name: a, {WHY}, when: {VERIFY}, then: {{deny: {{status: 404}}}}}}",
            ".then.deny.status: must be 403 or 451, not 404",
        ),
        (
            f"{{name: a, {WHY}, when: {VERIFY}, then: {{verify: none}}}}",
            ".then.verify: must be email, phone, payment, identity or organization, not 'none'",
        ),
        (
            f"{{name: a, {WHY}, when: {VERIFY}, then: {{throttle: 2d}}}}",
            ".then.throttle: must be from 1s to 1d",
        ),
        (
            f"{{name: a, {WHY}, when: {VERIFY}, then: {{throttle: later}}}}",
            ".then.throttle: must be a duration such as 30s, 10m, 2h or 7d",
        ),
        (
            f"{{name: a, {WHY}, when: {VERIFY}, thn: {{}}, then: {{deny: {{}}}}}}",
            ".thn: no such key; did you mean then?",
        ),
        (
            f"{{name: a, {WHY}, when: {VERIFY}, then: {{verify: email}}}}",
            ".then.verify: would ask again after it was passed: "
            "add verification: {below: email} to when",
        ),
        (
            f"{{name: a, {WHY}, when: {{items: 1}}, then: {{verify: email}}}}",
            ".then.verify: would ask again after it was passed: "
            "add verification: {below: email} to when",
        ),
        (
            f"{{name: a, {WHY}, when: {{tier: x}}, then: {{deny: {{}}}}}}",
            ".when.tier: may be unknown: say on_unknown: match or on_unknown: no_match",
        ),
    ],
)
def test_a_mistake_in_a_rule(entry: str, message: str) -> None:
    assert f"a.yaml:4: rules[0]{message}" in problems(HEAD + f"rules:\n  - {entry}\n")


@pytest.mark.parametrize(
    ("verification", "settles"),
    [
        ("{below: phone}", True),
        ("{below: email}", True),
        ("email", True),
        ("{eq: none}", True),
        ("{in: [none, email]}", True),
        ("phone", False),
        ("{below: payment}", False),
        ("{in: [email, phone]}", False),
        ("{at_least: email}", False),
        ("{not: phone}", False),
    ],
)
def test_a_verification_is_asked_only_of_those_who_have_not_passed_it(
    verification: str, settles: bool
) -> None:
    text = rule("r", f"{{verification: {verification}}}", then="{verify: phone}")
    found = problems(HEAD + "rules:\n" + text)
    assert [p.partition(": add ")[0] for p in found] == (
        [] if settles else ["a.yaml:4: rules[0].then.verify: would ask again after it was passed"]
    )


def test_all_findings_are_told_at_once_in_the_order_of_lines() -> None:
    text = HEAD + "ruels: []\nrules:\n" + rule("a", "{tir: x}") + rule("b", "{asn: x}")
    assert problems(text, "limits:\n" + limit("c", "by: accont, quota: 1/s")) == [
        "a.yaml:3: ruels: no such key; did you mean rules?",
        "a.yaml:5: rules[0].when.tir: no such signal; did you mean tier?",
        "a.yaml:6: rules[1].when.asn: asn is a whole number, not 'x'",
        "b.yaml:2: limits[0].by: no such signal; did you mean account?",
    ]


def test_the_example_of_the_style_guide_comes_out_to_the_letter() -> None:
    filler = HEAD + "rules:\n" + rule("a", VERIFY) + rule("b", VERIFY) + "\n" * 4
    text = filler + (
        "  - name: c\n"
        f"    {WHY}\n"
        "    then: {deny: {}}\n"
        "    when:\n"
        "      cluster_sise: {gte: 10}\n"
    )
    assert problems(text) == [
        "a.yaml:14: rules[2].when.cluster_sise: no such signal; did you mean cluster_size?"
    ]


def test_in_shadow_an_unanswered_unknown_is_a_warning() -> None:
    text = HEAD + "rules:\n" + rule("r", "{tier: x}", extra=", mode: shadow")
    assert problems(text) == [
        "a.yaml:4: rules[0].when.tier: warning: may be unknown: say on_unknown: match or "
        "on_unknown: no_match before it is enforced"
    ]
    assert compile_text(text)[0] is not None


def test_on_unknown_where_nothing_is_unknown_is_a_warning() -> None:
    text = HEAD + "rules:\n" + rule("r", "{items: 1}", extra=", on_unknown: match")
    assert problems(text) == [
        "a.yaml:4: rules[0].on_unknown: warning: has no effect: nothing in when may be unknown"
    ]


def test_a_name_stands_for_one_rule_or_limit() -> None:
    text = HEAD + "rules:\n" + rule("a", VERIFY)
    assert problems(text, "limits:\n" + limit("a", "by: account, quota: 1/s")) == [
        "b.yaml:2: limits[0].name: a is taken already in a.yaml:4"
    ]


def test_what_a_policy_says_once_is_said_in_one_file() -> None:
    assert problems(HEAD, "version: 1\nmode: shadow\n") == [
        "b.yaml:2: mode: is said already in a.yaml:2"
    ]


@pytest.mark.parametrize(("key", "most"), [("rules", 500), ("limits", 200)])
def test_a_policy_is_bounded(key: str, most: int) -> None:
    one = rule if key == "rules" else limit
    rest = VERIFY if key == "rules" else "by: account, quota: 1/s"
    text = HEAD + f"{key}:\n" + "".join(one(f"n{n}", rest) for n in range(most + 1))
    assert problems(text) == [f"a.yaml:{most + 4}: {key}[{most}]: over {most} {key} in one policy"]


def test_every_reason_of_the_gateway_itself_is_reserved() -> None:
    reasons = set()
    for path in [*(GATEWAY / "adapters").rglob("*.py"), *(GATEWAY / "core").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                at = {"RequestError": 1, "Finding": 0}.get(node.func.id)
                if at is not None and at < len(node.args):
                    argument = node.args[at]
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        reasons.add(argument.value)
    assert len(reasons) > 15
    assert reasons <= RESERVED


# ── sets ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("values: [a]", "sets/s.yaml:1: source: is required"),
        (BIG.replace("2026-11-20", "last year"), "sets/s.yaml:2: reviewed: must look like "
         "^\\d{4}-\\d{2}-\\d{2}$, not 'last year'"),
        (BIG.replace("2026-11-20", "2026-13-20"), "sets/s.yaml:2: reviewed: '2026-13-20' "
         "is no date"),
        (BIG.replace("[a, b]", "[]"), "sets/s.yaml:4: values: must be a list of 1 to 100000 "
         "values"),
        (BIG.replace("[a, b]", "[a, 1]"), "sets/s.yaml:4: values[1]: 1 is not of the same kind "
         "as the first value"),
        (BIG.replace("[a, b]", "[a, a]"), "sets/s.yaml:4: values[1]: 'a' comes twice"),
        (BIG.replace("[a, b]", "[true]"), "sets/s.yaml:4: values[0]: must be text or a whole "
         "number, not true"),
        (BIG.replace("[a, b]", f"[{'x' * 257}]"), "sets/s.yaml:4: values[0]: must be text of 1 to "
         "256 characters"),
        (BIG.replace("owner", "onwer"), "sets/s.yaml:3: onwer: no such key; did you mean owner?"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_set(text: str, message: str) -> None:
    assert message in problems(HEAD, sets={"s": text})


def test_a_set_of_the_policy_that_nobody_uses_is_a_warning_a_shared_one_is_not() -> None:
    assert problems(HEAD + "sets: {x: [a]}", sets={"y": BIG}) == [
        "a.yaml:3: sets.x: warning: no rule or limit uses this set"
    ]


def test_a_set_is_named_like_everything_else() -> None:
    assert problems(HEAD + "sets: {Big Set: [a]}")[0] == (
        "a.yaml:3: sets['Big Set']: 'Big Set' must be 1 to 40 of a-z, 0-9, - and _, "
        "not - or _ first"
    )


def test_a_name_stands_for_one_set() -> None:
    text = (
        HEAD
        + "sets: {x: [a]}\nrules:\n"
        + rule("r", "{tier: {in: x}}", extra=", on_unknown: match")
    )
    assert problems(text, sets={"x": BIG}) == [
        "sets/x.yaml:1: set x is defined already in a.yaml:3"
    ]


# ── laws ─────────────────────────────────────────────────────────────────────────────────────

CONDITIONS = [
    "{items: {gt: 2}}",
    "{stream: true}",
    "{tier: {in: [start, build]}}",
    "{not: {model: m}}",
    "{any: [{asn: 1}, {country: DE}]}",
    "{verification: {below: phone}}",
]
VALUES: dict[str, list[object]] = {
    "items": [1, 3],
    "stream": [True, False, None],
    "tier": ["start", "scale", None],
    "model": ["m", "n", None],
    "asn": [1, 2, None],
    "country": ["DE", "FR", None],
    "verification": [Level.EMAIL, Level.IDENTITY],
}


@given(
    st.permutations(range(len(CONDITIONS))),
    st.fixed_dictionaries({name: st.sampled_from(values) for name, values in VALUES.items()}),
)
def test_the_order_of_rules_never_matters_to_which_match(
    order: list[int], row: dict[str, object]
) -> None:
    def matching(numbers: list[int]) -> set[str]:
        rules = "".join(
            rule(f"r{n}", CONDITIONS[n], extra=", mode: shadow, on_unknown: no_match")
            for n in numbers
        )
        policy = compiled(HEAD + "rules:\n" + rules)
        values = tuple(row[spec.name] for spec in policy.signals)
        return {r.name for r in policy.rules if r.when(values)}

    assert matching(list(order)) == matching(list(range(len(CONDITIONS))))


scalars = st.sampled_from(
    ["a", "tier", "1/min", "enforce", "phone", "DE", "10m", "{}", "12 at once", "x" * 50]
) | (st.integers(-5, 10**19) | st.booleans() | st.none() | st.floats(allow_nan=True))
words = st.sampled_from(
    [
        "version", "name", "mode", "rules", "limits", "sets", "routes", "add", "remove", "custom",
        "why", "when", "then", "deny", "status", "verify", "throttle", "by", "quota", "burst",
        "tiers", "cost", "lease", "shards", "on_unknown", "tier", "verification", "items",
        "contracts", "all", "any", "not", "in", "gte", "below", "contains", "exists", "glob",
        "appeal", "on_store_error", "unknown_credentials", "message", "cached_input_weight",
        "path", "methods", "shape", "dialect",
    ]
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5),
    max_leaves=25,
)


@given(st.dictionaries(words, values, max_size=8))
def test_any_values_give_a_policy_or_problems(data: dict[str, object]) -> None:
    text = HEAD + as_yaml(data)
    policy, report = compile_text(text)
    assert (policy is None) == report.has_errors
    assert len(report.problems) <= MAX_PROBLEMS + 1


RULE_KEYS = st.sampled_from(["name", "why", "mode", "when", "on_unknown", "then", "message"])
LIMIT_KEYS = st.sampled_from(
    ["name", "why", "by", "cost", "quota", "burst", "tiers", "when", "lease", "shards"]
)


@given(
    st.lists(st.dictionaries(RULE_KEYS, values, max_size=7), max_size=3),
    st.lists(st.dictionaries(LIMIT_KEYS, values, max_size=10), max_size=3),
)
def test_any_rule_or_limit_gives_a_policy_or_problems(
    rules: list[dict[str, object]], limits: list[dict[str, object]]
) -> None:
    whole_rule = {"name": "a", "why": "because of that", "when": {"items": 1}, "then": {"deny": {}}}
    whole_limit = {"name": "b", "why": "because of that", "by": "account", "quota": "1/s"}
    data = {
        "rules": [whole_rule | one for one in rules],
        "limits": [whole_limit | one for one in limits],
    }
    policy, report = compile_text(HEAD + as_yaml(data))
    assert (policy is None) == report.has_errors


def as_yaml(data: Mapping[str, object]) -> str:
    """JSON, key by key; infinity and not-a-number come out as text."""
    return "".join(
        f"{json.dumps(key)}: {json.dumps(value)}\n"
        for key, value in data.items()
        if key not in ("version", "mode")
    )


def test_compiling_the_same_text_twice_gives_the_same_policy() -> None:
    text = BASE + "limits:\n" + limit("l", "by: [account, model], quota: 5/s")
    first, second = (compiled(text, sets={"big": BIG}) for _ in range(2))
    assert first.revision == second.revision
    assert first.limits == second.limits
    assert first.signals == second.signals
    assert [r.name for r in first.rules] == [r.name for r in second.rules]


def test_no_file_that_can_be_read_is_no_policy() -> None:
    assert compile_text("a: [", "b: [")[0] is None


@pytest.mark.parametrize(
    ("message", "finding"),
    [
        ("At most 50 a day.", "warning: callers read this: no thresholds, no clusters"),
        ("Your cluster is known.", "warning: callers read this: no thresholds, no clusters"),
        ('"two\\nlines"', "must be printable text in one line"),
    ],
)
def test_a_message_that_tells_too_much_is_found(message: str, finding: str) -> None:
    text = HEAD + "rules:\n" + rule("r", VERIFY, extra=f", message: {message}")
    assert problems(text) == [f"a.yaml:4: rules[0].message: {finding}"]
    text = HEAD + "limits:\n" + limit("r", f"by: account, quota: 1/s, message: {message}")
    assert problems(text) == [f"a.yaml:4: limits[0].message: {finding}"]
