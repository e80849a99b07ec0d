"""Folds that nothing leaks across: whoever shares an operator or a template source stays together.

Both relations count at once, and through one another: if A and B share an operator, and B and C a
template, all three are one group.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32


def groups_of(*relations: Sequence[str]) -> list[int]:
    """A group's number for each row; `relations` say by name what each row belongs to."""
    parents = list(range(len(relations[0])))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for relation in relations:
        first: dict[str, int] = {}
        for row, name in enumerate(relation):
            if name:
                parents[root(row)] = root(first.setdefault(name, row))
    return [root(row) for row in range(len(parents))]


def folds_of(groups: Sequence[int], names: Sequence[str], count: int) -> list[int]:
    """A fold in `range(count)` for each row: the largest groups first, each into the fold that has
    least so far of what it mostly holds (`names`); equal on every machine."""
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    order = sorted(members.values(), key=lambda rows: (-len(rows), crc32(names[rows[0]].encode())))
    held: dict[str, list[int]] = {}
    folds = [0] * len(groups)
    totals = [0] * count
    for rows in order:
        kinds = [names[row] for row in rows]
        kind = max(sorted(set(kinds)), key=kinds.count)
        sizes = held.setdefault(kind, [0] * count)
        fold = min(range(count), key=lambda n: (sizes[n], totals[n], n))
        sizes[fold] += len(rows)
        totals[fold] += len(rows)
        for row in rows:
            folds[row] = fold
    return folds
