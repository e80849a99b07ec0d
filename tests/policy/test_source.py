"""YAML with lines, and nothing that YAML hides."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy import source
from gateway.policy.source import MAX_PROBLEMS, Place, Report, parse_yaml, resolve

LOADERS = [yaml.CSafeLoader, yaml.SafeLoader]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2026-11-20", "2026-11-20"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("123456789012345678901", "123456789012345678901"),
        ("true", True),
        ("~", None),
        ("", None),
        ("-7", -7),
        ("0", 0),
        (".5", 0.5),
        ("1e3", 1000.0),
    ],
)
def test_a_plain_scalar_reads_as_in_yaml_1_2(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_every_key_and_item_knows_its_line() -> None:
    file = parse_yaml(b"a: 1\nb:\n  - x\n  - {c: 2}\n'7': q\n", "f", Report())
    assert file is not None
    assert file.data == {"a": 1, "b": ["x", {"c": 2}], "7": "q"}
    assert file.lines == {
        ("a",): 1,
        ("b",): 2,
        ("b", 0): 3,
        ("b", 1): 4,
        ("b", 1, "c"): 4,
        ("7",): 5,
    }
    assert Place(file, ("b", 1, "nowhere")).line == 4
    assert Place(file, ("b", 1, "a b")).text == "b[1]['a b']"


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"a: 1\nb: 2\na: 3", "f:3: a: comes twice, first in line 1", id="duplicate"),
        pytest.param(
            b"a: &x 1\nb: *x",
            "f:1: a: anchors and aliases are not supported: write it out",
            id="anchor",
        ),
        pytest.param(b"a:\n  - !!set {b}", "f:2: a[0]: tags are not supported", id="tag"),
        pytest.param(b"!!python/none a: 1", "f:1: a key must be plain text", id="tagged key"),
        pytest.param(
            b"<<: {a: 1}", "f:1: merge keys are not supported: write it out", id="merge key"
        ),
        pytest.param(b"a: 1\n---\nb: 2", "f:2: only one document a file", id="second document"),
        pytest.param(b"? [a]\n: 1", "f:1: a key must be plain text", id="key is a list"),
        pytest.param(b"a: 1\nb: \xff", "f:2: is not UTF-8 text", id="not UTF-8"),
        pytest.param(
            b"[" * 100_000, "f:1: [0][0][0][0]: nested deeper than 24 levels", id="deep lists"
        ),
        pytest.param(
            b"{a: " * 10_000, "f:1: a.a.a.a: nested deeper than 24 levels", id="deep tables"
        ),
    ],
)
def test_what_cannot_be_read_safely_is_a_problem(
    text: bytes, message: str, loader: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_LOADER", loader)
    report = Report()
    parse_yaml(text, "f", report)
    assert list(map(str, report.problems)) == [message]


def test_a_file_with_too_many_values_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_VALUES", 10)
    report = Report()
    assert parse_yaml(b"[1,2,3,4,5,6,7,8,9,10]", "f", report) is None
    assert str(report.problems[0]) == "f:1: over 10 values"


def test_a_billion_laughs_stay_a_line() -> None:
    text = b"a: &a [x]\n" + b"".join(b"b%d: &b%d [*a, *a]\n" % (n, n) for n in range(50))
    report = Report()
    assert parse_yaml(text, "f", report) is None
    assert len(report.problems) == 1


@given(st.binary(max_size=400) | st.text(max_size=400).map(lambda t: t.encode("utf-8", "replace")))
def test_any_bytes_give_values_or_problems(text: bytes) -> None:
    report = Report()
    file = parse_yaml(text, "f", report)
    assert (file is not None) or report.problems
    assert all(problem.line >= 0 for problem in report.problems)


def test_problems_are_bounded_and_in_the_order_of_lines() -> None:
    file = parse_yaml(b"\n".join(b"k%d: 1" % n for n in range(500)), "f", Report())
    assert file is not None
    report = Report()
    for number in reversed(range(500)):
        report.error(Place(file) / f"k{number}", "bad")
    found = report.problems
    assert [p.line for p in found[:-1]] == sorted(p.line for p in found[:-1])
    assert len(found) == MAX_PROBLEMS + 1
    assert str(found[-1]) == f"f: and {500 - MAX_PROBLEMS} more problems"
