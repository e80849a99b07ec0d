"""The decision log in columns: a line of `observe/log_line.py` as a row, nothing left out.

Law: from facts, subject, results and policy of a row the same decision follows as from its line.
`facts` and `subject` have the line's own fields, typed as `RequestFacts` and `Subject` are, so a
field that comes to them is a column without a word here. Lists without names get their names.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import orjson
import pyarrow as pa

from ..model import Grant, RequestFacts, Status, Subject, TaskReading
from ..observe.log_line import SUBJECT_NAMES, VERSION

INSTANT = pa.timestamp("us", tz="UTC")
FINDING = ("rule", "verdict", "mode", "retry_after_us", "level")
CHARGE = ("limit", "effect", "quota", "period_us", "burst", "amount", "ceiling")
RESULT = ("allowed", "level")
GRANT = ("level", "granted_us", "expires_us")
USAGE = ("input_tokens", "cached_input_tokens", "output_tokens")

_PLAIN = {
    str: pa.string(),
    Status: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
}


def _named(names: tuple[str, ...], **types: pa.DataType) -> pa.DataType:
    """A list of structs: text unless `types` says otherwise."""
    return pa.list_(pa.struct([(name, types.get(name, pa.string())) for name in names]))


_WHOLE = pa.int64()
_NAMED_LISTS = {
    tuple[Grant, ...]: _named(GRANT, granted_us=_WHOLE, expires_us=_WHOLE),
    Mapping[str, str]: pa.map_(pa.string(), pa.string()),
}


def _type_of(hint: Any) -> pa.DataType:
    """Raises TypeError for a field of a type that has no column yet."""
    if get_origin(hint) is UnionType:  # X | None: any column may be null
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if hint in _NAMED_LISTS:
        return _NAMED_LISTS[hint]
    if hint is TaskReading:
        return _struct_of(hint)
    if get_origin(hint) is tuple and get_args(hint)[1:] == (...,):
        return pa.list_(_type_of(get_args(hint)[0]))
    raise TypeError(f"no column for {hint}")


def _struct_of(record: type) -> pa.DataType:
    return pa.struct([(name, _type_of(hint)) for name, hint in get_type_hints(record).items()])


def _subject_type() -> pa.DataType:
    hints = get_type_hints(Subject)
    own = [(name, _type_of(hints[name])) for name in SUBJECT_NAMES]
    return pa.struct([("account", pa.string()), ("org", pa.string()), *own])


SCHEMA = pa.schema(
    [
        ("v", pa.int16()),
        ("id", pa.string()),
        ("ts", INSTANT),
        ("surface", pa.string()),
        ("policy", pa.string()),
        ("verdict", pa.string()),
        ("would_be", pa.string()),
        ("reason", pa.string()),
        ("status", pa.int16()),
        ("shadow_all", pa.bool_()),
        ("degraded", pa.bool_()),
        ("degraded_limits", pa.list_(pa.string())),
        ("applied", pa.bool_()),
        ("outcome", pa.string()),
        ("upstream_status", pa.int16()),
        *((name, pa.int64()) for name in USAGE),
        ("decided", INSTANT),
        ("finished", INSTANT),
        ("decision_us", pa.int64()),
        ("findings", _named(FINDING, retry_after_us=_WHOLE)),
        (
            "charges",
            _named(CHARGE, **dict.fromkeys(CHARGE[2:], _WHOLE)),
        ),
        ("results", _named(RESULT, allowed=pa.bool_(), level=_WHOLE)),
        ("signals", pa.map_(pa.string(), pa.string())),
        ("facts", _struct_of(RequestFacts)),
        ("subject", _subject_type()),
    ]
)
_AS_THEY_ARE = (
    *("v", "id", "surface", "policy", "verdict", "would_be", "reason", "status", "shadow_all"),
    *("applied", "outcome", "upstream_status", "decision_us"),
)


def row_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """A parsed line in the columns of `SCHEMA`.

    Raises KeyError, TypeError or ValueError for what is no line of this format.
    """
    if line["v"] != VERSION:
        raise ValueError(f"format {line['v']!r} of the log is not known here, only {VERSION}")
    degraded = line["degraded"]
    return {
        **{name: line[name] for name in _AS_THEY_ARE},
        "ts": line["ts_us"],
        "decided": line["decided_us"],
        "finished": line["finished_us"],
        "degraded": bool(degraded),
        "degraded_limits": degraded if isinstance(degraded, list) else [],
        **dict(zip(USAGE, line["usage"], strict=True)),
        "findings": [dict(zip(FINDING, one, strict=True)) for one in line["findings"]],
        "charges": [dict(zip(CHARGE, one, strict=True)) for one in line["charges"]],
        "results": [dict(zip(RESULT, one, strict=True)) for one in line["results"]],
        "signals": [(name, _signal(value)) for name, value in line["signals"].items()],
        "facts": _facts(line["facts"]),
        "subject": None if line["subject"] is None else _subject(line["subject"]),
    }


def _signal(value: object) -> str | None:
    """Text as it is, all else as JSON: a signal's type is the policy's affair."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    window = facts.get("window")
    return {**facts, "window": None if window is None else b64decode(window, validate=True)}


def _subject(subject: Mapping[str, Any]) -> dict[str, Any]:
    row = dict(subject)
    if "grants" in row:
        row["grants"] = [dict(zip(GRANT, grant, strict=True)) for grant in row["grants"]]
    if "quotas" in row:
        row["quotas"] = list(row["quotas"].items())
    return row
