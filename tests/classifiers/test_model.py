"""A model is a sum of named contributions, and what does not fit is refused with a reason."""

from __future__ import annotations

from math import exp

import pytest

from gateway.classifiers.model import (
    Feature,
    FeatureSet,
    Head,
    ModelError,
    ModelFile,
    in_words,
    read_model,
    write_model,
)

FEATURES = FeatureSet(
    "test/1",
    (Feature("is_rigid", "never changes a parameter"), Feature("is_flat", "works round the clock")),
)
FILE = ModelFile(
    1,
    "test/1",
    {
        "script": Head(-2.0, {"is_rigid": 3.0, "is_flat": 1.0}, slope=2.0, offset=0.5),
        "person": Head(1.0, {"is_flat": -4.0}),
    },
)


def test_a_score_is_the_logistic_of_the_sum_of_its_contributions() -> None:
    model = read_model(write_model(FILE), FEATURES, "x.json")
    values = (0.5, 1.0)
    found = model.contributions("script", values)
    logit = model.start[model.heads.index("script")] + sum(one.logit for one in found)
    assert logit == 2.0 * (-2.0 + 3.0 * 0.5 + 1.0) + 0.5
    assert model.scores(values)[model.heads.index("script")] == round(1 / (1 + exp(-logit)), 3)


def test_the_heaviest_contribution_comes_first_and_what_is_absent_does_not_come() -> None:
    model = read_model(write_model(FILE), FEATURES, "x.json")
    assert [one.feature for one in model.contributions("script", (1.0, 1.0))] == [
        "is_rigid",
        "is_flat",
    ]
    assert [one.feature for one in model.contributions("person", (1.0, 1.0))] == ["is_flat"]
    text = in_words("script", 0.97, model.contributions("script", (1.0, 0.0)))
    assert text == "script 0.97, because it never changes a parameter (+6.0)"


def test_the_version_follows_from_the_file() -> None:
    first = read_model(write_model(FILE), FEATURES, "x.json")
    again = read_model(write_model(FILE), FEATURES, "elsewhere.json")
    other = ModelFile(1, "test/1", {"script": Head(0.0, {})})
    assert first.version == again.version
    assert read_model(write_model(other), FEATURES, "x.json").version != first.version


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", "m.json: is no model file"),
        (b'{"format":1,"features":"test/1","heads":{},"odd":1}', "is no model file"),
        (b'{"format":1,"features":"test/1","heads":{}}', "heads: from 1 to 64"),
        (b'{"format":9,"features":"test/1","heads":{"a":{"bias":0,"weights":{}}}}', "format 9"),
        (
            b'{"format":1,"features":"test/0","heads":{"a":{"bias":0,"weights":{}}}}',
            "trained on test/0, and this version computes test/1; train it again",
        ),
        (
            b'{"format":1,"features":"test/1","heads":{"a":{"bias":0,"weights":{"is_rigd":1}}}}',
            "heads.a.weights.is_rigd: no such feature; did you mean is_rigid?",
        ),
        (
            b'{"format":1,"features":"test/1","heads":{"a":{"bias":0,"weights":{},"slope":0}}}',
            "slope above 0",
        ),
        (b" " * (1 << 20) + b"{}", "over 1048576 bytes"),
    ],
)
def test_what_does_not_fit_is_refused_with_where_and_why(raw: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=r"m\.json") as refused:
        read_model(raw, FEATURES, "m.json")
    assert message in str(refused.value)
