"""Which accounts, and where accounts mix which exchanges, belong to a campaign.

Labels are read here and nowhere before: no policy, classifier or replay sees them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from ...errors import UsageError
from .blocks import read_blocks

MAX_GROUPS = 200
T = TypeVar("T")


class AccountLabel(msgspec.Struct, frozen=True):
    account_id: str
    campaign: str | None = None
    class_: str = msgspec.field(name="class", default="unlabelled")
    framed_by: str | None = None
    limit_due: bool = False


class LineLabel(msgspec.Struct, frozen=True):
    """`line` counts from 1. `campaign` of this exchange, whatever its account is."""

    line: int
    campaign: str | None = None


class Group(msgspec.Struct, frozen=True):
    """Accounts that are counted together: one campaign's, or one class of innocents.

    `limit_due`: nobody's campaign, but refusing it is right (a runaway script, a stolen key). Shown
    as a class, and left out of what is promised to innocents.
    """

    name: str
    is_campaign: bool
    limit_due: bool = False


UNLABELLED = Group("unlabelled", False)
# Innocent exchanges inside an account that a campaign uses as well.
STRANGERS = Group("strangers in mixed accounts", False)


def group_of(label: AccountLabel) -> Group:
    """The campaign, where the account has one, else the innocent class."""
    if label.campaign is not None:
        return Group(label.campaign, True)
    return Group(label.class_, False, label.limit_due)


@dataclass(frozen=True, slots=True)
class Labels:
    """The group of each account, and which innocent accounts some campaign imitates."""

    groups: dict[str, Group]
    framed: frozenset[str] = frozenset()


def read_labels(path: Path) -> Labels:
    """Every account's label. Raises UsageError with the line for what is no label."""
    labels: dict[str, Group] = {}
    framed: set[str] = set()
    groups: dict[Group, Group] = {}
    decoder = msgspec.json.Decoder(AccountLabel)
    for number, line in _lines(path):
        label = _decode(decoder, line, path, number)
        if label.account_id in labels:
            raise UsageError(f"{path}:{number}: account labelled twice; keep one of the lines")
        group = group_of(label)
        if label.framed_by is not None:
            framed.add(label.account_id)
        labels[label.account_id] = groups.setdefault(group, group)
        if len(groups) > MAX_GROUPS:
            raise UsageError(f"{path}:{number}: over {MAX_GROUPS} campaigns and classes")
    if not labels:
        raise UsageError(f"{path}: no labels in it")
    return Labels(labels, frozenset(framed))


def read_line_labels(path: Path) -> Iterator[LineLabel]:
    """Labels of lines, ascending. Raises UsageError where they are not."""
    decoder, last = msgspec.json.Decoder(LineLabel), 0
    for number, raw in _lines(path):
        label = _decode(decoder, raw, path, number)
        if label.line <= last:
            raise UsageError(f"{path}:{number}: line {label.line} comes after {last}; sort by line")
        last = label.line
        yield label


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    for block in read_blocks(path):
        for line in block.splitlines():
            number += 1
            if line.strip():
                yield number, line


def _decode(decoder: msgspec.json.Decoder[T], line: bytes, path: Path, number: int) -> T:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"{path}:{number}: {error}") from None
