"""YAML text to plain values that remember their lines, safe for any input.

Law: nothing but problems comes out of bad text. There are no anchors, aliases, tags, merge keys
or second documents, so that nothing expands; depth and number of values are bounded. Plain
scalars read as in YAML 1.2: `NO`, `on` and `1:30` are text, only `true` and `false` are booleans.
Keys are always text and never come twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import yaml

from ..errors import Problem

Path = tuple[str | int, ...]

MAX_DEPTH = 24
MAX_VALUES = 200_000
MAX_PROBLEMS = 200

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")
_CONSTANTS: dict[str, bool | None] = {"": None, "~": None}
_CONSTANTS |= dict.fromkeys(("null", "Null", "NULL"))
_CONSTANTS |= dict.fromkeys(("true", "True", "TRUE"), True)
_CONSTANTS |= dict.fromkeys(("false", "False", "FALSE"), False)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.-]{1,80}")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One parsed file: `name` as shown to people, `lines` of every key and item by path."""

    name: str
    data: Any
    lines: Mapping[Path, int]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: a file and the path inside of it."""

    file: SourceFile
    path: Path = ()

    def __truediv__(self, part: str | int) -> Place:
        return Place(self.file, (*self.path, part))

    @property
    def is_written(self) -> bool:
        """Whether the file has a key or item exactly here."""
        return self.path in self.file.lines

    @property
    def line(self) -> int:
        """The line of the nearest key or item around; 1 at the top."""
        for length in range(len(self.path), 0, -1):
            line = self.file.lines.get(self.path[:length])
            if line is not None:
                return line
        return 1

    @property
    def text(self) -> str:
        """`rules[2].when.tier`."""
        text = ""
        for part in self.path:
            if isinstance(part, int):
                text += f"[{part}]"
            elif _PLAIN_KEY.fullmatch(part):
                text += f".{part}" if text else part
            else:
                text += f"[{shown(part)}]"
        return text

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}"


class Report:
    """Collects problems, at most `MAX_PROBLEMS`; `has_errors` tells errors from warnings."""

    def __init__(self, today: date | None = None) -> None:
        """`today` is for what falls due; None: nothing is said of that."""
        self.has_errors = False
        self._today = today
        self._problems: list[Problem] = []
        self._left_out = 0

    def error(self, place: Place, message: str) -> None:
        self.add(Problem(place.file.name, place.line, place.text, message))

    def warn(self, place: Place, message: str) -> None:
        self.add(Problem(place.file.name, place.line, place.text, message, is_warning=True))

    def note_due(self, place: Place, due: date, message: str) -> None:
        """A warning once `due` is past."""
        if self._today is not None and due < self._today:
            self.warn(place, message)

    def add(self, problem: Problem) -> None:
        self.has_errors = self.has_errors or not problem.is_warning
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(problem)
        else:
            self._left_out += 1

    @property
    def problems(self) -> list[Problem]:
        """In the order of files as they were met, then of lines."""
        order: dict[str, int] = {}
        for problem in self._problems:
            order.setdefault(problem.file, len(order))
        found = sorted(self._problems, key=lambda p: (order[p.file], p.line, p.path))
        if self._left_out:
            found.append(Problem(found[-1].file, 0, "", f"and {self._left_out} more problems"))
        return found


def shown(value: object) -> str:
    """A value as it may stand in a message: quoted text, cut short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def parse_yaml(text: bytes, name: str, report: Report) -> SourceFile | None:
    """The file's values; None when `report` says why not. Never raises."""
    try:
        return _Composer(text.decode("utf-8-sig"), name, report).file()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        report.add(Problem(name, line, "", "is not UTF-8 text"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        report.add(Problem(name, line, "", f"is no YAML: {error.problem or error.context}"))
    except yaml.YAMLError as error:
        report.add(Problem(name, 0, "", f"is no YAML: {' '.join(str(error).split())[:200]}"))
    except _BadYamlError as error:
        report.add(Problem(name, error.line, error.path, str(error)))
    return None


def refuse_empty(source: SourceFile, report: Report) -> None:
    """Report every key and item without a value: it would be taken for one that was left out, which
    a `mode:` that somebody cleared is not."""
    waiting: list[tuple[Place, object]] = [(Place(source), source.data)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(place / key, inside) for key, inside in value.items()]
        elif isinstance(value, list):
            waiting += [(place / index, inside) for index, inside in enumerate(value)]
        elif value is None and place.path:
            report.error(place, "has no value: write one, or leave it out")


class _BadYamlError(Exception):
    def __init__(self, message: str, event: Any, path: Path, file: SourceFile) -> None:
        super().__init__(message)
        self.line: int = event.start_mark.line + 1
        self.path = Place(file, path).text


class _Composer:
    """Builds values from parser events: the parser is iterative, and our depth is bounded."""

    def __init__(self, text: str, name: str, report: Report) -> None:
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))
        self._lines: dict[Path, int] = {}
        self._file = SourceFile(name, None, self._lines)
        self._report = report
        self._values = 0

    def file(self) -> SourceFile:
        next(self._events)  # stream start
        start = next(self._events)
        if isinstance(start, yaml.StreamEndEvent):
            return self._file
        data = self._value(next(self._events), ())
        next(self._events)  # document end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._bad("only one document a file", after, ())
        return SourceFile(self._file.name, data, self._lines)

    def _value(self, event: Any, path: Path) -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._bad(f"over {MAX_VALUES} values", event, ())
        if len(path) > MAX_DEPTH:
            raise self._bad(f"nested deeper than {MAX_DEPTH} levels", event, path[:4])
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._bad("anchors and aliases are not supported: write it out", event, path)
        if event.tag is not None:
            raise self._bad("tags are not supported", event, path)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._scalar(event, path)

    def _mapping(self, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path)
            place = (*path, key)
            if key in mapping:
                message = f"comes twice, first in line {self._lines[place]}"
                line = event.start_mark.line + 1
                text = Place(self._file, place).text
                self._report.add(Problem(self._file.name, line, text, message))
            self._lines[place] = event.start_mark.line + 1
            mapping[key] = self._value(next(self._events), place)
        return mapping

    def _key(self, event: Any, path: Path) -> str:
        if not isinstance(event, yaml.ScalarEvent) or event.tag or event.anchor:
            raise self._bad("a key must be plain text", event, path)
        if event.value == "<<" and not event.style:
            raise self._bad("merge keys are not supported: write it out", event, path)
        return self._checked(event, path)

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            place = (*path, len(items))
            self._lines[place] = event.start_mark.line + 1
            items.append(self._value(event, place))
        return items

    def _scalar(self, event: Any, path: Path) -> Any:
        text = self._checked(event, path)
        return text if event.style else resolve(text)

    def _checked(self, event: Any, path: Path) -> str:
        text: str = event.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise self._bad("is not Unicode text", event, path)
        return text

    def _bad(self, message: str, event: Any, path: Path) -> _BadYamlError:
        return _BadYamlError(message, event, path, self._file)


def resolve(text: str) -> str | int | float | bool | None:
    """A plain scalar's value by the YAML 1.2 core schema, decimal numbers only."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)) and not _is_padded(text):
        return number
    return text


def _is_padded(text: str) -> bool:
    """`007` and numbers too long for an integer are identifiers, not numbers."""
    digits = text.lstrip("+-")
    return digits.isdigit()
