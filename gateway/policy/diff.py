"""What differs between two policies as they are written, entry by entry.

Entries are told apart by their names, so that moving one to another place or file is no change.
What a policy leaves to its default mode is compared as what it comes to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import ndiff
from typing import Any

from ..model import Policy
from .compile import Sources

LISTED = {"rules": "rule", "limits": "limit", "routes": "route"}
MAX_SHOWN_VALUES = 20  # of a set; more are only counted
Entry = tuple[str, str]
"""Kind (policy, rule, limit, route, set) and name."""


@dataclass(frozen=True, slots=True)
class Change:
    """One entry that was `added`, `removed` or `changed`; `lines` begin with - or +."""

    how: str
    kind: str
    name: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        head = f"{self.how} {self.kind} {self.name}".rstrip()
        return "\n".join([head, *(f"  {line}" for line in self.lines)])


def entries(sources: Sources, policy: Policy) -> dict[Entry, tuple[str, ...]]:
    """Every entry of a policy as `path: value` lines. `sources` are what `policy` came from."""
    modes = {rule.name: rule.mode for rule in policy.rules}
    modes |= {limit.name: limit.mode for limit in policy.limits}
    found: dict[Entry, tuple[str, ...]] = {}
    for file in sources.files:
        for key, value in file.data.items():
            if key in LISTED:
                for entry in value or ():
                    told = (
                        {**entry, "mode": str(modes[entry["name"]])} if key != "routes" else entry
                    )
                    found[LISTED[key], str(told.get("name"))] = tuple(sorted(_flat(told)))
            elif key == "sets":
                for name, values in value.items():
                    found["set", name] = tuple(sorted(_flat(values)))
            elif key not in ("version", "mode"):
                found["policy", key] = tuple(sorted(_flat(value, key)))
    for one in sources.sets:
        found.setdefault(("set", one.name), tuple(sorted(_flat(one.file.data))))
    return found


def compare(
    old: Mapping[Entry, tuple[str, ...]], new: Mapping[Entry, tuple[str, ...]]
) -> list[Change]:
    """Removed, added and changed entries, in the order of kinds and names."""
    changes = []
    for entry in sorted(old.keys() | new.keys()):
        before, after = old.get(entry), new.get(entry)
        if before == after:
            continue
        how = "changed"
        if before is None or after is None:
            how = "added" if before is None else "removed"
        changes.append(Change(how, *entry, _marked(before or (), after or ())))
    return changes


def _marked(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[str, ...]:
    if len(before) + len(after) > 2_000:  # a large set: ndiff would take for ever
        gone, come = set(before) - set(after), set(after) - set(before)
        marked = [f"- {line}" for line in sorted(gone)] + [f"+ {line}" for line in sorted(come)]
    else:
        marked = [line for line in ndiff(before, after) if line[0] in "+-"]
    left_out = len(marked) - 2 * MAX_SHOWN_VALUES
    if left_out > 0:
        marked = [*marked[: 2 * MAX_SHOWN_VALUES], f"… and {left_out} more lines"]
    return tuple(marked)


def _flat(value: Any, path: str = "") -> Iterator[str]:
    """`when.cluster_size.gte: 10`; the values of a list of plain values one a line."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{index}]")
    elif isinstance(value, list):
        for inner in value:
            yield f"{path}: {inner}" if path else str(inner)
    else:
        yield f"{path}: {value}" if path else str(value)
