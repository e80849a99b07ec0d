"""Which piece of work a text belongs to: the folder that its file paths begin with, and the
language of its first block of code. A number that tells pieces apart and names none.

One person has a few of them a day; many at a time are many people behind one account, or a service.
"""

from __future__ import annotations

import re
from zlib import crc32

# A folder of somebody's work under what systems, containers and runners call such places.
_ROOT = re.compile(
    rb"(?<![\w.:/-])/(?:(?:home|Users|mnt|media|var|srv|opt|data)/[\w.@-]{1,64}/[\w.@-]{1,64}"
    rb"|(?:workspaces?|repos?|projects?|app|code|src|work|testbed)/[\w.@-]{1,64})"
    rb"|\b[A-Za-z]:\\{1,4}(?:[\w.@ -]{1,64}\\{1,4}){1,2}[\w.@-]{1,64}"
)
_FENCE = b"```"
_LONGEST_NAME_BYTES = 12
_NO_NAME = re.compile(rb"[^A-Za-z+#]")


def workspace_of(ends: bytes, marks: bytes) -> int:
    """1..65535 for the ends of a text (raw JSON); 0 where it names neither. `marks` are its
    `text.marks_of`."""
    # Few texts have these marks, and what they are looked for in is short.
    find = marks.find
    has_path = find(b"/") >= 0 or (find(b"\\") >= 0 and b":\\" in ends)
    root = _ROOT.search(ends) if has_path else None
    language = _language(ends) if find(b"`") >= 0 and _FENCE in ends else b""
    if root is None and not language:
        return 0
    return crc32(language + b"\0" + (b"" if root is None else root[0])) & 0xFFFF or 1


def _language(ends: bytes) -> bytes:
    """What the first fence says; empty where it says nothing."""
    start = ends.find(_FENCE) + len(_FENCE)
    return _NO_NAME.split(ends[start : start + _LONGEST_NAME_BYTES], maxsplit=1)[0].lower()
