"""What callers wrote, on an operator's terminal."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.explain import explain
from gateway.observe.visible import visible, visible_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/v1/größe 字", "/v1/größe 字"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\r\nDecision 1: ALLOW", r"a\r\nDecision 1: ALLOW"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("\u202etxt\u2028", r"\u202etxt\u2028"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_is_no_visible_character_is_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_means_the_same_and_holds_nothing_that_moves_a_cursor(value: Any) -> None:
    text = visible_json(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    assert json.loads(text) == value
    assert text.replace("\n", "").isprintable()


def test_a_path_adds_no_line_to_an_explanation() -> None:
    line: dict[str, Any] = {
        "id": "01",
        "ts_us": 0,
        "verdict": "deny",
        "would_be": "deny",
        "reason": "route_not_listed",
        "surface": "proxy",
        "status": 403,
        "facts": {"method": "GET", "path": "/v1/\x1b[2J\nDecision 02: ALLOW"},
    }
    text = explain(line, None)["text"]
    assert r"GET /v1/\x1b[2J\nDecision 02: ALLOW, 0 bytes" in text
    assert not [one for one in text.splitlines() if one.startswith("Decision 02")]
    assert text.replace("\n", "").isprintable()
