"""The reference pages and the schema say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from gateway.commands.reference import generated
from gateway.policy import cases, schema
from gateway.policy.load import check
from gateway.signals import all_signals

from .builders import HEAD, problems

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "policy.md").read_text()
EXAMPLE = re.search(
    r"<!-- check: (?P<path>\S+) -->\n```yaml\n(?P<policy>.*?)```\n```text\n(?P<said>.*?)```",
    PAGE,
    re.DOTALL,
)


@pytest.mark.parametrize("path", sorted(generated(ROOT)), ids=lambda path: path.name)
def test_what_is_generated_is_fresh(path: Path) -> None:
    fresh = generated(ROOT)[path]
    assert path.read_text() == fresh, "stale: run python -m gateway.commands.reference"


def test_check_says_what_the_page_says_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EXAMPLE is not None
    file = tmp_path / EXAMPLE["path"]
    file.parent.mkdir()
    file.write_text(EXAMPLE["policy"])
    monkeypatch.chdir(tmp_path)
    said = "".join(f"{problem}\n" for problem in check(Path(EXAMPLE["path"])))
    assert said == EXAMPLE["said"]


LISTS = re.findall(r"```yaml\n((?:rules|limits|routes):\n.*?)```", PAGE, re.DOTALL)


def test_the_page_has_lists_to_copy() -> None:
    assert len(LISTS) >= 4


@pytest.mark.parametrize("text", LISTS, ids=lambda text: text.split()[3])
def test_what_the_page_offers_to_copy_passes_check(text: str) -> None:
    assert problems(HEAD + text) == []


@pytest.mark.parametrize(
    "model",
    [
        schema.RawPolicy,
        schema.RawRule,
        schema.RawThen,
        schema.RawLimit,
        schema.RawRoutes,
        schema.RawRoute,
        schema.RawSetFile,
        cases.RawCase,
        cases.RawStep,
        cases.RawAccount,
        cases.RawRequest,
        cases.RawUsed,
        cases.RawExpect,
    ],
)
def test_every_key_is_on_the_page(model: type[BaseModel]) -> None:
    missing = [name for name in model.model_fields if not re.search(rf"\b{name}\b", PAGE)]
    assert missing == []


# ── the JSON Schema ──────────────────────────────────────────────────────────────────────────

SCHEMA = json.loads((ROOT / "policies" / "schema.json").read_text())


def nodes(node: Any) -> list[dict[str, Any]]:
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    found = [node] if isinstance(node, dict) else []
    return [*found, *(one for value in inner for one in nodes(value))]


def test_every_reference_in_the_schema_leads_somewhere() -> None:
    references = {node["$ref"] for node in nodes(SCHEMA) if isinstance(node.get("$ref"), str)}
    assert references
    assert all(ref.removeprefix("#/$defs/") in SCHEMA["$defs"] for ref in references)


def test_the_schema_completes_every_signal_with_its_words() -> None:
    properties = SCHEMA["$defs"]["Condition"]["properties"]
    assert properties.keys() == all_signals().keys() | {"all", "any", "not"}
    for spec in all_signals().values():
        assert properties[spec.name]["description"] == spec.doc


def test_every_table_of_the_schema_is_closed() -> None:
    tables = [node for node in nodes(SCHEMA) if "properties" in node and "type" in node]
    assert len(tables) > 10
    assert all(node["additionalProperties"] is False for node in tables)


def test_what_takes_a_list_or_a_set_does_so_in_the_schema() -> None:
    texts = SCHEMA["$defs"]["TextsComparison"]["anyOf"][0]["properties"]
    text = SCHEMA["$defs"]["TextComparison"]["anyOf"][1]["properties"]
    assert texts["any_in"] == text["in"]
    assert texts["any_in"]["anyOf"][0]["type"] == "array"
