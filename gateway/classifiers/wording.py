"""Features of a text: which concepts it speaks of, and how it is laid out.

A text that was seen before is not looked at again: readings are kept by a hash of its ends, of
system prompts apart from those of questions, so that a flood of new questions drives no template
out.
"""

from __future__ import annotations

from zlib import crc32

from msgspec import Struct

from .concepts import CONCEPTS
from .encoded import legible
from .lexicon import Lexicon
from .model import Feature
from .structure import FULL, length_level
from .text import ENDS_BYTES, FIGURES, ends_of, folded, marks_of, measured, middle_of, unescaped
from .workspace import workspace_of

LAYOUT_FEATURES = (
    Feature("lines", "is laid out in many lines"),
    Feature("list_items", "lists items"),
    Feature("labels", "labels its parts, as a template does"),
    Feature("section_marks", "marks its sections, as a template does"),
    Feature("code_marks", "holds code"),
    Feature("placeholders", "holds placeholders or braces"),
    Feature("question_marks", "asks questions"),
    Feature("digits", "holds many figures"),
)
FEATURES = (
    *(Feature(f"says_{concept.name}", concept.about) for concept in CONCEPTS),
    *LAYOUT_FEATURES,
)
HEAD_BYTES = 48
MAX_KEPT = 8_192
_BY_COUNT = bytes([0, 5, 7]).ljust(256, bytes([FULL]))
# By how many of the marks of one sort the ends of a text have.
_DOUBLINGS = bytes([length_level(count, 0) for count in range(2 * ENDS_BYTES)])
_WIDE_QUESTION_MARK = "？".encode()
_FULL_WIDTH = _WIDE_QUESTION_MARK[:1]
_BACKSLASH = ord("\\")
_SECTION_MARKS = frozenset(b"#[<")
_CODE_MARKS = frozenset(b"`(=")
_FIGURES = frozenset(FIGURES)
_BEYOND_ASCII = bytes(range(0x80, 0x100))


class Reading(Struct, frozen=True, gc=False):
    """What one text came to. `counts` are the lexicon's; `head` tells texts apart that begin
    differently; `letters` is how many its ends have (`text.measured`); `workspace` see
    `workspace`."""

    counts: int
    layout: bytes
    head: int
    letters: int = 0
    workspace: int = 0


class _Kept:
    """The readings of the latest texts, in two generations: at most `2 * MAX_KEPT`."""

    __slots__ = ("_new", "_old")

    def __init__(self) -> None:
        self._new: dict[int, Reading] = {}
        self._old: dict[int, Reading] = {}

    def get(self, key: int) -> Reading | None:
        found = self._new.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: int, reading: Reading) -> None:
        if len(self._new) >= MAX_KEPT:
            self._old, self._new = self._new, {}
        self._new[key] = reading


class Wording:
    """Reads the texts of requests. One per process: it remembers what it has read."""

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        self._lexicon = lexicon or Lexicon()
        self._systems = _Kept()
        self._questions = _Kept()
        self.nothing = Reading(0, bytes(len(LAYOUT_FEATURES)), 0)

    def system(self, raw: bytes | memoryview) -> Reading:
        return self._read(raw, self._systems, has_layout=False) if raw else self.nothing

    def question(self, raw: bytes | memoryview) -> Reading:
        return self._read(raw, self._questions, has_layout=True) if raw else self.nothing

    def _read(self, raw: bytes | memoryview, kept: _Kept, *, has_layout: bool) -> Reading:
        if len(raw) < ENDS_BYTES:
            ends, middle = bytes(raw), b""
            key = hash(ends)
        else:
            ends, middle = ends_of(raw), middle_of(raw)
            key = hash((ends, middle)) if middle else hash(ends)
        found = kept.get(key)
        if found is None:
            found = self._read_anew(legible(ends), middle, has_layout=has_layout)
            kept.put(key, found)
        return found

    def _read_anew(self, ends: bytes, middle: bytes, *, has_layout: bool) -> Reading:
        marks = marks_of(ends)
        if b"\\" in marks and b"\\u" in ends:
            ends = unescaped(ends)
            marks = marks_of(ends)
        text, letters = measured(ends, marks)
        said = self._lexicon.said(text)
        if middle:
            said |= self._lexicon.strongest(folded(middle))
        return Reading(
            self._lexicon.counts(said),
            _layout(ends, marks) if has_layout else self.nothing.layout,
            crc32(text[:HEAD_BYTES].encode()[:HEAD_BYTES]),
            letters,
            workspace_of(ends, marks),
        )


def levels(system: Reading, question: Reading, latest: Reading) -> bytes:
    """0..9 for each of `FEATURES`: instructions count wherever they stand."""
    counts = system.counts + question.counts + latest.counts
    return counts.to_bytes(len(CONCEPTS), "little").translate(_BY_COUNT) + question.layout


def _layout(raw: bytes, marks: bytes) -> bytes:
    """0..9 for each of `LAYOUT_FEATURES`. `marks` are its `text.marks_of`."""
    # A line break is its backslash. Most texts have few sorts of marks, and what is not there is
    # not counted.
    asked = 0
    if not marks.isascii():
        if _FULL_WIDTH in marks:
            asked = raw.count(_WIDE_QUESTION_MARK)
        marks = marks.translate(None, _BEYOND_ASCII)
    count = marks.count
    there = frozenset(marks)
    lines = lists = sections = code = digits = 0
    if _BACKSLASH in there:
        lines = raw.count(b"\\n")
        lists = count(b"\\-") + count(b"\\*") + count(b"\\1.")
    if not there.isdisjoint(_SECTION_MARKS):
        sections = count(b"##") + count(b"[[") + count(b"<|") + count(b"</")
    if not there.isdisjoint(_CODE_MARKS):
        code = count(b"```") + count(b"()") + count(b"=")
    if not there.isdisjoint(_FIGURES):
        digits = len(marks) - len(marks.translate(None, FIGURES))
    return bytes(
        (
            _DOUBLINGS[lines],
            _DOUBLINGS[lists],
            _DOUBLINGS[count(b":")],
            _DOUBLINGS[sections],
            _DOUBLINGS[code],
            _DOUBLINGS[count(b"{")],
            _DOUBLINGS[asked + count(b"?")],
            min(FULL, 20 * digits // (len(raw) + 1)),
        )
    )
