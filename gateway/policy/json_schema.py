"""The published JSON Schema of a policy file: editors complete signals and comparisons from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..model import Level, SignalSpec
from .hints import LEVEL_NAMES
from .operators import OPERATORS
from .schema import CONDITION_FORMAT, RawPolicy

_CONDITION_REF = {"$ref": "#/$defs/Condition"}
_JSON_TYPES: dict[type, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Level: {"enum": list(LEVEL_NAMES)},
    tuple: {"type": "string"},
}


def json_schema(signals: Mapping[str, SignalSpec]) -> str:
    """The JSON Schema (2020-12) of a policy file, with every signal and comparison."""
    schema = _tidied(RawPolicy.model_json_schema())
    definitions = schema["$defs"]
    definitions["Condition"] = _condition_schema(signals)
    for kind, name in _KIND_NAMES.items():
        definitions[name] = _comparison_schema(kind)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Hydragate policy, version 1",
    }
    return json.dumps(head | schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _tidied(node: Any) -> Any:
    """Without pydantic's titles, and with conditions in their places."""
    if isinstance(node, list):
        return [_tidied(value) for value in node]
    if not isinstance(node, dict):
        return node
    if node.get("format") == CONDITION_FORMAT:
        return _CONDITION_REF
    forms = node.get("anyOf", [])
    if len(forms) == 2 and forms[1] == {"type": "null"}:  # absent, rather than null
        kept = {name: value for name, value in node.items() if name not in ("anyOf", "default")}
        return _tidied(forms[0] | kept)
    return {
        name: _tidied(value)
        for name, value in node.items()
        if not (name == "title" and isinstance(value, str))
    }


def _condition_schema(signals: Mapping[str, SignalSpec]) -> dict[str, Any]:
    tables = {"type": "array", "minItems": 1, "items": _CONDITION_REF}
    properties: dict[str, Any] = {"all": tables, "any": tables, "not": _CONDITION_REF}
    for spec in signals.values():
        properties[spec.name] = {
            "description": spec.doc,
            "$ref": f"#/$defs/{_KIND_NAMES[spec.value_type]}",
        }
    return {
        "description": "All of these hold. all, any and not take tables of the same kind.",
        "type": "object",
        "properties": properties,
        "minProperties": 1,
        "additionalProperties": False,
    }


_KIND_NAMES: dict[type, str] = {
    bool: "FlagComparison",
    int: "WholeNumberComparison",
    float: "NumberComparison",
    str: "TextComparison",
    Level: "LevelComparison",
    tuple: "TextsComparison",
}


def _comparison_schema(kind: type) -> dict[str, Any]:
    value = _JSON_TYPES[kind]
    texts = {"anyOf": [value, {"type": "array", "minItems": 1, "items": value}]}
    forms: dict[str, Any] = dict.fromkeys(OPERATORS[kind], value)
    forms |= {form: texts for form in ("prefix", "suffix") if form in forms}
    members = {"type": "array", "minItems": 1, "items": value}
    several = {"anyOf": [members, {"type": "string", "description": "name of a set"}]}
    forms |= {form: several for form in ("in", "any_in") if form in forms}
    inner = {"type": "object", "minProperties": 1, "additionalProperties": False}
    plain = inner | {"properties": forms | {"not": {"anyOf": [value, {"type": "object"}]}}}
    whole = inner | {
        "properties": forms
        | {
            "not": {"anyOf": [value, plain]},
            "exists": {"type": "boolean"},
            "on_unknown": {"enum": ["match", "no_match"]},
        }
    }
    return {"anyOf": [whole] if kind is tuple else [value, whole]}
