"""Policies from disk, and swapping them while serving."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.errors import PolicyError
from gateway.policy import load
from gateway.policy.keep import keep_copy
from gateway.policy.load import PolicyHolder, check, load_policy

from .builders import HEAD, limit, rule

WHEN = "{model: {in: big}}"
BIG = "source: here\nreviewed: 2026-11-20\nowner: me\nvalues: [a, b]\n"
RULES = "version: 1\nrules:\n" + rule("a", WHEN, extra=", on_unknown: match")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "tests").mkdir(parents=True)
    (folder / "sets").mkdir()
    (tmp_path / "sets").mkdir()
    (folder / "policy.yaml").write_text(HEAD)
    (folder / "rules.yaml").write_text(RULES)
    (folder / "tests" / "broken.yaml").write_text("{")
    (folder / "notes.md").write_text("{")
    (folder / ".hidden.yaml").write_text("{")
    (tmp_path / "sets" / "big.yaml").write_text(BIG)
    return folder


def test_a_folder_is_one_policy_named_after_it_and_its_tests_are_left_out(folder: Path) -> None:
    policy = load_policy(folder)
    assert policy.name == "mine"
    assert policy.names == {"a"}
    assert check(folder) == []


def test_a_single_file_is_a_policy_too(folder: Path) -> None:
    file = folder.parent / "one.yaml"
    file.write_text(HEAD + RULES.removeprefix("version: 1\n"))
    assert load_policy(file).name == "one"
    assert check(file) == []


def test_sets_beside_a_single_file_may_belong_to_other_policies(folder: Path) -> None:
    file = folder.parent / "one.yaml"
    file.write_text(HEAD)
    assert check(file) == []


def test_a_set_of_the_folder_that_nobody_uses_is_a_warning(folder: Path) -> None:
    (folder / "sets" / "lonely.yaml").write_text(BIG)
    assert [problem.message for problem in check(folder)] == ["no rule or limit uses this set"]


def test_a_relative_path_finds_the_shared_sets(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert load_policy(Path(".")).name == "mine"


def test_revision_does_not_depend_on_where_the_policy_lies(folder: Path) -> None:
    here = load_policy(folder).revision
    moved = folder.parent / "elsewhere" / "mine"
    moved.parent.mkdir()
    folder.rename(moved)
    (folder.parent / "sets").rename(moved.parent / "sets")
    assert load_policy(moved).revision == here


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "nowhere: cannot be read: No such file or directory"),
        ("empty", "empty: no *.yaml file in this folder"),
    ],
)
def test_what_is_no_policy_is_one_finding(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert list(map(str, check(Path(path)))) == [message]
    with pytest.raises(PolicyError, match=path):
        load_policy(Path(path))


def test_an_error_names_file_and_line_as_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    (folder / "rules.yaml").write_text(RULES.replace("model", "modle"))
    with pytest.raises(PolicyError) as raised:
        load_policy(Path("mine"))
    assert str(raised.value) == (
        "mine/rules.yaml:3: rules[0].when.modle: no such signal; did you mean model?"
    )


@pytest.mark.parametrize("cleared", ["", "null", "~"])
def test_a_key_whose_value_was_cleared_is_not_one_that_was_left_out(
    folder: Path, cleared: str
) -> None:
    """A rule in shadow would else take the policy's mode, and act."""
    (folder / "rules.yaml").write_text(
        f"version: 1\nrules:\n  - name: a\n    why: because\n    mode: {cleared}\n"
        "    when: {model: m}\n    on_unknown: match\n    then: {deny: {}}\n"
    )
    found = [str(problem) for problem in check(folder)]
    where = f"{folder / 'rules.yaml'}:5: rules[0].mode"
    assert f"{where}: has no value: write one, or leave it out" in found


def test_a_huge_file_is_refused_unread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MAX_FILE_BYTES", 100)
    (folder / "policy.yaml").write_text(HEAD + "#" * 200)
    assert "is over 100 bytes" in str(check(folder)[0])


def test_too_many_files_are_refused_unread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MAX_FILES", 1)
    assert [problem.message for problem in check(folder)] == ["over 1 files"]


# ── reload ───────────────────────────────────────────────────────────────────────────────────


def test_a_changed_policy_is_swapped_in_whole(folder: Path) -> None:
    holder = PolicyHolder(folder)
    before = holder.current
    (folder / "limits.yaml").write_text("limits:\n" + limit("l", "by: account, quota: 1/s"))
    assert holder.reload_if_changed().outcome == "ok"
    assert before.names == {"a"}
    assert holder.current.names == {"a", "l"}
    assert holder.reload_if_changed().outcome == "unchanged"


def test_a_bad_file_keeps_the_old_policy_and_says_so_once(folder: Path) -> None:
    holder = PolicyHolder(folder)
    before = holder.current
    (folder / "rules.yaml").write_text(RULES.replace("model", "modle"))
    failed = holder.reload_if_changed()
    again = holder.reload_if_changed()
    assert (failed.outcome, again.outcome) == ("failed", "unchanged")
    assert failed.problems == again.problems != []
    assert holder.current is before
    (folder / "rules.yaml").write_text(RULES.replace("name: a", "name: b"))
    mended = holder.reload_if_changed()
    assert (mended.outcome, mended.problems) == ("ok", [])
    assert holder.current.names == {"b"}


def test_a_file_mended_to_what_is_in_force_ends_the_problems(folder: Path) -> None:
    holder = PolicyHolder(folder)
    before = holder.current
    (folder / "rules.yaml").write_text("{")
    assert holder.reload_if_changed().outcome == "failed"
    (folder / "rules.yaml").write_text(RULES)
    assert holder.reload_if_changed().problems == []
    assert holder.current.revision == before.revision


@pytest.mark.parametrize("change", ["rewritten", "touched"])
def test_a_file_of_the_same_content_is_no_change(folder: Path, change: str) -> None:
    holder = PolicyHolder(folder)
    before = holder.current
    file = folder / "rules.yaml"
    if change == "touched":
        os.utime(file, ns=(1, 1))
    else:
        (folder / "new").write_text(RULES)
        (folder / "new").rename(file)
    assert holder.reload_if_changed().outcome == "unchanged"
    assert holder.current is before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda f: (f / "rules.yaml").unlink(), id="a file gone"),
        pytest.param(
            lambda f: (f.parent / "sets" / "big.yaml").write_text(BIG.replace("a, b", "c")),
            id="a shared set",
        ),
        pytest.param(lambda f: (f / "sets" / "x.yaml").write_text(BIG), id="a set of its own"),
    ],
)
def test_every_file_of_the_policy_is_watched(folder: Path, change: object) -> None:
    holder = PolicyHolder(folder)
    assert callable(change)
    change(folder)
    assert holder.reload_if_changed().outcome == "ok"


def test_a_policy_that_vanishes_keeps_the_old_one(folder: Path) -> None:
    holder = PolicyHolder(folder)
    folder.rename(folder.parent / "away")
    failed = holder.reload_if_changed()
    assert failed.outcome == "failed"
    assert holder.current.names == {"a"}
    (folder.parent / "away").rename(folder)
    assert holder.reload_if_changed().problems == []


def test_a_holder_begins_with_a_good_policy_or_not_at_all(folder: Path) -> None:
    (folder / "rules.yaml").write_text("{")
    with pytest.raises(PolicyError):
        PolicyHolder(folder)


def test_with_a_fallback_a_holder_begins_with_that_and_takes_the_mended_files(
    folder: Path, tmp_path: Path
) -> None:
    kept = keep_copy(folder, tmp_path / "data" / "kept")
    (folder / "rules.yaml").write_text("{")
    holder = PolicyHolder(folder, fallback=kept)
    assert holder.current.names == {"a"}
    assert holder.reload_if_changed().problems != []
    (folder / "rules.yaml").write_text(RULES.replace("name: a", "name: b"))
    assert holder.reload_if_changed().outcome == "ok"
    assert holder.current.names == {"b"}


def test_a_kept_copy_is_the_same_policy_whether_folder_or_file(
    folder: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "data" / "kept"
    assert load_policy(keep_copy(folder, kept)).revision == load_policy(folder).revision
    file = folder / "one.yaml"
    file.write_text(HEAD + RULES.removeprefix("version: 1\n"))
    for _ in range(2):  # what was kept before is replaced
        copy = load_policy(keep_copy(file, kept))
        assert (copy.name, copy.revision) == ("one", load_policy(file).revision)
