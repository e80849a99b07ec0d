"""Policies from disk: a folder or one file, checked whole, swapped whole.

A folder is every `*.yaml` in it, in the order of names, with its `sets/`; `tests/` is left out.
Sets that several policies share lie in a `sets/` beside the folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from ..errors import PolicyError, Problem
from ..model import Policy
from ..signals import all_signals
from .compile import Sources, compile_policy
from .json_schema import json_schema
from .sets import SetFile
from .source import Report, SourceFile, parse_yaml, refuse_empty

MAX_FILES = 64
MAX_SET_FILES = 200
MAX_FILE_BYTES = 4 * 1024 * 1024
SUFFIXES = (".yaml", ".yml")

Stamp = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What a look at the files came to. `failed` is said once per bad state of the files, while
    `problems` stay until they are good again."""

    outcome: Literal["ok", "unchanged", "failed"]
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Files:
    """Which files make up the policy at a path."""

    name: str
    policy: tuple[Path, ...]
    own_sets: tuple[Path, ...]
    shared_sets: tuple[Path, ...]

    @property
    def all(self) -> tuple[Path, ...]:
        return (*self.policy, *self.own_sets, *self.shared_sets)


def load_policy(path: Path) -> Policy:
    """The policy in a folder or file. Raises PolicyError with every finding."""
    policy, problems = _load(path)
    if policy is None:
        raise PolicyError(problems)
    return policy


def check(path: Path, *, today: date | None = None) -> list[Problem]:
    """Every error and warning, in file order; empty when there is nothing to say. With `today`
    reviews and exceptions that are past are warned of."""
    return _load(path, today)[1]


def schema_json() -> str:
    """The JSON Schema of a policy file, as published in `policies/schema.json`."""
    return json_schema(all_signals())


class PolicyHolder:
    """The policy in force. A request keeps the one it began with; a bad file changes nothing.

    Building one raises PolicyError; with `fallback`, only when that policy is bad as well.
    There is no thread inside: the caller polls.
    """

    def __init__(self, path: Path, *, fallback: Path | None = None) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._digest = _digest(path)
        self._problems: list[Problem] = []
        try:
            self.current = load_policy(path)
        except PolicyError as error:
            if fallback is None:
                raise
            self.current, self._problems = load_policy(fallback), error.problems

    @property
    def is_refusing(self) -> bool:
        """Whether the files, as last looked at, are bad: what is in force came before them."""
        return bool(self._problems)

    def reload_if_changed(self) -> ReloadReport:
        """Look at the files; when their content changed, load and swap. Never raises."""
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return ReloadReport("unchanged", self._problems)
        digest = _digest(self._path)
        self._stamp = stamp
        if digest == self._digest:
            return ReloadReport("unchanged", self._problems)
        self._digest = digest
        policy, problems = _load(self._path)
        if policy is None:
            self._problems = problems
            return ReloadReport("failed", problems)
        self.current, self._problems = policy, []
        return ReloadReport("ok")


def _load(path: Path, today: date | None = None) -> tuple[Policy | None, list[Problem]]:
    report = Report(today)
    sources = read_sources(path, report)
    policy = None
    if sources is not None:
        policy = compile_policy(sources, all_signals(), report)
    return (None if report.has_errors else policy), report.problems


def read_sources(path: Path, report: Report) -> Sources | None:
    """All files of the policy, parsed; None when there is none that can be."""
    found = _find(path, report)
    if found is None:
        return None
    parsed = [_parse(file, report) for file in found.policy]
    sets = [
        SetFile(file.stem, source, is_shared)
        for files, is_shared in ((found.own_sets, False), (found.shared_sets, True))
        for file in files
        if (source := _parse(file, report)) is not None
    ]
    files = tuple([source for source in parsed if source is not None])
    return Sources(found.name, files, tuple(sets)) if files else None


def _parse(file: Path, report: Report) -> SourceFile | None:
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        report.add(Problem(str(file), 0, "", f"cannot be read: {error.strerror}"))
        return None
    if len(text) > MAX_FILE_BYTES:
        report.add(Problem(str(file), 0, "", f"is over {MAX_FILE_BYTES} bytes"))
        return None
    source = parse_yaml(text, str(file), report)
    if source is not None:
        refuse_empty(source, report)
    return source


def _find(path: Path, report: Report) -> _Files | None:
    """The policy's files; None when the report says why there are none."""
    is_folder = path.is_dir()
    folder = path if is_folder else path.parent
    policy = _yaml_files(folder) if is_folder else [path]
    if not policy or len(policy) > MAX_FILES:
        what = f"over {MAX_FILES} files" if policy else "no *.yaml file in this folder"
        report.add(Problem(str(path), 0, "", what))
        return None
    own = _yaml_files(folder / "sets")
    shared = _yaml_files(Path(os.path.normpath(folder.absolute().parent / "sets")))
    if not is_folder:  # the files beside it may be other policies
        own, shared = [], [*own, *shared]
    if len(own) + len(shared) > MAX_SET_FILES:
        report.add(Problem(str(path), 0, "", f"over {MAX_SET_FILES} files of sets"))
        return None
    name = path.resolve().name if is_folder else path.stem
    return _Files(name, tuple(policy), tuple(own), tuple(map(_relative, shared)))


def _yaml_files(folder: Path) -> list[Path]:
    try:
        files = [file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file()]
    except OSError:
        return []
    return sorted(file for file in files if not file.name.startswith("."))


def _relative(file: Path) -> Path:
    """As short as it can be shown: relative to the working folder where it lies below it."""
    try:
        return file.relative_to(Path.cwd())
    except (ValueError, OSError):
        return file


def _stamp(path: Path) -> Stamp:
    """Changes whenever a file of the policy does; costs one stat a file."""
    found = _find(path, Report())
    stamps = []
    for file in () if found is None else found.all:
        try:
            stat = file.stat()
        except OSError:
            stamps.append((str(file), 0, 0, 0, 0))
        else:
            stamps.append(
                (str(file), stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
            )
    return tuple(stamps)


def _digest(path: Path) -> bytes:
    """Of the names and contents of all files."""
    found = _find(path, Report())
    hashed = blake2b(digest_size=16)
    for file in () if found is None else found.all:
        hashed.update(f"\0{file}\0".encode())
        hashed.update(_content(file))
    return hashed.digest()


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes() if file.stat().st_size <= MAX_FILE_BYTES else b""
    except OSError:
        return b""
