"""Policies compared as they are written."""

from __future__ import annotations

from pathlib import Path

from gateway.policy.diff import Change, compare, entries
from gateway.policy.load import load_policy, read_sources
from gateway.policy.source import Report

HEAD = "version: 1\nname: one\nmode: enforce\nunknown_credentials: refuse\non_store_error: deny\n"
LIMIT = "  - {name: rpm, why: 'for the test', by: account, quota: 60/min, on_store_error: allow}\n"
RULE = """  - name: long
    why: for the test
    when: {message_count: {gte: 10}}
    on_unknown: no_match
    then: {deny: {}}
"""


def told(folder: Path, **files: str) -> dict[tuple[str, str], tuple[str, ...]]:
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    sources = read_sources(folder, Report())
    assert sources is not None
    return entries(sources, load_policy(folder))


def test_moving_an_entry_is_no_change(tmp_path: Path) -> None:
    one = told(tmp_path / "a", policy=f"{HEAD}limits:\n{LIMIT}rules:\n{RULE}")
    two = told(
        tmp_path / "b",
        policy=HEAD,
        rules=f"version: 1\nrules:\n{RULE}",
        limits=f"version: 1\nlimits:\n{LIMIT}",
    )
    assert compare(one, two) == []


def test_added_removed_and_changed_entries_are_told_line_by_line(tmp_path: Path) -> None:
    one = told(tmp_path / "a", policy=f"{HEAD}limits:\n{LIMIT}")
    changed = LIMIT.replace("60/min", "90/min")
    two = told(tmp_path / "b", policy=f"{HEAD}limits:\n{changed}rules:\n{RULE}")
    assert compare(one, two) == [
        Change("changed", "limit", "rpm", ("- quota: 60/min", "+ quota: 90/min")),
        Change(
            "added",
            "rule",
            "long",
            (
                "+ mode: enforce",
                "+ name: long",
                "+ on_unknown: no_match",
                "+ then.deny: {}",
                "+ when.message_count.gte: 10",
                "+ why: for the test",
            ),
        ),
    ]
    assert [change.how for change in compare(two, one)] == ["changed", "removed"]


def test_another_default_mode_changes_every_entry_that_leans_on_it(tmp_path: Path) -> None:
    one = told(tmp_path / "a", policy=f"{HEAD}limits:\n{LIMIT}")
    two = told(
        tmp_path / "b",
        policy=f"{HEAD.replace('mode: enforce', 'mode: shadow')}limits:\n{LIMIT}",
    )
    assert compare(one, two) == [
        Change("changed", "limit", "rpm", ("- mode: enforce", "+ mode: shadow"))
    ]


def test_a_large_set_is_told_by_its_first_values(tmp_path: Path) -> None:
    rule = RULE.replace("{message_count: {gte: 10}}", "{model: {in: listed}}")
    parts = []
    for name, count in (("a", 3), ("b", 3_000)):
        values = "".join(f"    - model-{n}\n" for n in range(count))
        parts.append(
            told(tmp_path / name, policy=f"{HEAD}rules:\n{rule}sets:\n  listed:\n{values}")
        )
    (change,) = compare(*parts)
    assert (change.kind, change.name) == ("set", "listed")
    assert len(change.lines) == 41
    assert change.lines[-1] == "… and 2957 more lines"
