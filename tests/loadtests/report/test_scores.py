"""Clusters against campaigns, on examples that can be reckoned by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import UsageError
from gateway.loadtests.report.labels import Group
from gateway.loadtests.report.scores import (
    Agreement,
    ClusterLine,
    b_cubed,
    pairs,
    read_clusters,
    score,
)


def sets(text: str) -> dict[str, str]:
    """`"abc de"`: accounts a, b and c in set 0, d and e in set 1."""
    return {account: str(i) for i, part in enumerate(text.split()) for account in part}


@pytest.mark.parametrize(
    ("predicted", "truth", "precision", "recall"),
    [
        ("abc", "abc", 1.0, 1.0),
        ("abc de", "abc de", 1.0, 1.0),
        ("abcde", "abc de", (3 * 3 / 5 + 2 * 2 / 5) / 5, 1.0),
        ("ab c", "abc", 1.0, (2 * 2 / 3 + 1 / 3) / 3),
        # Bagga and Baldwin's own example: twelve mentions, precision 16/21 and 1 of recall when
        # the two small sets were put together.
        ("abcde fghijkl", "abcde fg hijkl", (5 + 2 * 2 / 7 + 5 * 5 / 7) / 12, 1.0),
        # An innocent account z swept up with a campaign.
        ("abz", "ab", (2 * 2 / 3 + 1 / 3) / 3, 1.0),
        # Nothing found: every account alone is pure, and holds a third of its campaign.
        ("", "abc", 1.0, 1 / 3),
        # Everything found is innocent.
        ("xy", "", 0.5, 1.0),
    ],
    ids=["same", "two", "merged", "split", "bagga", "innocent", "nothing", "all wrong"],
)
def test_b_cubed(predicted: str, truth: str, precision: float, recall: float) -> None:
    found = b_cubed(sets(predicted), sets(truth))
    assert (found.precision, found.recall) == pytest.approx((precision, recall))


def test_the_example_of_bagga_and_baldwin_as_printed() -> None:
    merged_small = b_cubed(sets("abcde fghijkl"), sets("abcde fg hijkl"))
    merged_large = b_cubed(sets("abcdehijkl fg"), sets("abcde fg hijkl"))
    assert merged_small.precision == pytest.approx(0.76, abs=0.005)
    assert merged_large.precision == pytest.approx(0.58, abs=0.005)


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        ("abc", "abc", Agreement(1.0, 1.0)),
        ("abcde", "abc de", Agreement(4 / 10, 1.0)),
        ("ab cd", "abcd", Agreement(1.0, 2 / 6)),
        ("abz", "ab", Agreement(1 / 3, 1.0)),
        ("", "abc", Agreement(None, 0.0)),
        ("", "", Agreement(None, None)),
    ],
    ids=["same", "merged", "split", "innocent", "nothing", "empty"],
)
def test_pairs(predicted: str, truth: str, expected: Agreement) -> None:
    assert pairs(sets(predicted), sets(truth)) == expected


def test_b_cubed_agrees_with_its_definition() -> None:
    predicted, truth = sets("abx cdey fg"), sets("abcd efg hi")
    everyone = predicted.keys() | truth.keys()

    def together(where: dict[str, str], one: str) -> set[str]:
        return {a for a in where if a in where and where[a] == where.get(one)} or {one}

    precision = recall = 0.0
    for one in everyone:
        found, real = together(predicted, one), together(truth, one)
        precision += len(found & real) / len(found)
        recall += len(found & real) / len(real)
    scored = b_cubed(predicted, truth)
    assert scored.precision == pytest.approx(precision / len(everyone))
    assert scored.recall == pytest.approx(recall / len(everyone))


def test_f1_is_the_harmonic_mean() -> None:
    assert Agreement(0.5, 1.0).f1 == pytest.approx(2 / 3)
    assert Agreement(0.0, 0.0).f1 == 0.0
    assert Agreement(None, 1.0).f1 is None


LABELS = {
    **{a: Group("farm", True) for a in "abcd"},
    **{a: Group("ordinary", False) for a in "wxyz"},
}


def test_only_accused_clusters_are_scored_and_dated() -> None:
    clusters = [
        ClusterLine("c1", "suspected", ["a", "b", "z"], first_seen=7200.0),
        ClusterLine("c2", "watched", ["c", "d"], first_seen=0.0),
        ClusterLine("c3", "confirmed", ["x", "y"], first_seen=0.0),
    ]
    found = score(clusters, LABELS, {"farm": 3600.0})
    assert found.clusters == {"confirmed": 1, "suspected": 1, "watched": 1}
    assert found.accounts == Agreement(2 / 5, 2 / 4)
    assert found.found_after_h == {"farm": 1.0}
    assert found.accounts_scored == 7


def test_an_account_in_two_accused_clusters_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "clusters.jsonl"
    path.write_text(
        '{"cluster_id":"1","state":"suspected","accounts":["a"]}\n'
        '{"cluster_id":"2","state":"confirmed","accounts":["a","b"]}\n'
    )
    with pytest.raises(UsageError, match=r"clusters\.jsonl:2: .* already in another"):
        read_clusters(path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"cluster_id":"1","accounts":[]}', "missing required field `state`"),
        ('{"cluster_id":"1","state":"odd","accounts":[]}', "state 'odd' is none of watched"),
        ("{", "no cluster"),
    ],
)
def test_what_is_no_cluster_is_refused(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "clusters.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UsageError, match=says):
        read_clusters(path)
