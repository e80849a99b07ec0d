"""Text of callers on an operator's terminal: paths and user agents may hold what moves a cursor,
writes a clipboard or turns a line around."""

from __future__ import annotations

import re

_NOT_PRINTABLE = re.compile(r"[^ -~\n]")


def visible(text: str) -> str:
    r"""With an escape such as `\x1b` or `\u202e` for each character that is no mark or space, line
    ends included."""
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() else c.encode("unicode_escape").decode() for c in text])


def visible_json(text: str) -> str:
    r"""JSON of the same meaning, whose strings hold such characters as `\u009b`; line ends between
    members stay."""
    return _NOT_PRINTABLE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable():
        return character
    units = character.encode("utf-16-be")
    return "".join([f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)])
