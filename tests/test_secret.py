"""Who may read the file with the secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.app import read_secret
from gateway.errors import UsageError

SECRET = "0123456789abcdef0123456789abcdef"


def written(folder: Path, mode: int) -> Path:
    path = folder / "secret"
    path.write_text(SECRET)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_its_owner_may(tmp_path: Path, mode: int) -> None:
    assert read_secret(written(tmp_path, mode), may_create=False) == SECRET.encode()


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o604, 0o660, 0o440])
def test_of_our_own_file_nobody_else(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UsageError, match="others can read it"):
        read_secret(written(tmp_path, mode), may_create=False)


@pytest.mark.parametrize(("mode", "is_fine"), [(0o440, True), (0o444, False), (0o460, False)])
def test_of_somebody_elses_file_its_group_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, is_fine: bool
) -> None:
    """As Kubernetes gives a Secret to a process that is not root."""
    path = written(tmp_path, mode)
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    if is_fine:
        assert read_secret(path, may_create=False) == SECRET.encode()
        return
    with pytest.raises(UsageError, match="others can read it"):
        read_secret(path, may_create=False)
