"""A copy of the last good policy, for a worker that starts while the files are broken."""

from __future__ import annotations

import shutil
from pathlib import Path

IGNORED = shutil.ignore_patterns("tests", ".*")


def keep_copy(path: Path, folder: Path) -> Path:
    """Copy the policy at `path`, and the sets it may share, into `folder`; returns where the
    copy is. Raises OSError. What `folder` held before is replaced."""
    fresh = folder.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    source = path.resolve()
    kept = fresh / source.name
    if source.is_dir():
        shutil.copytree(source, kept, ignore=IGNORED)
    else:
        fresh.mkdir(parents=True)
        shutil.copy2(source, kept)
    # A folder's shared sets lie beside it; a single file has its own and those one level up.
    for sets, target in (
        (source.parent / "sets", fresh / "sets"),
        (source.parent.parent / "sets", fresh.parent / "sets"),
    ):
        is_used = source.is_file() or target.parent == fresh
        if is_used and sets.is_dir():
            shutil.copytree(sets, target, ignore=IGNORED, dirs_exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return folder / source.name
