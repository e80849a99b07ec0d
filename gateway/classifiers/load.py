"""Model files from disk: the one that is shipped, or the operator's own, swapped whole.

A bad file keeps the model in force, as a bad policy keeps the policy. There is no thread inside:
the caller polls.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from .account import read_account_model
from .cluster import read_cluster_model
from .model import MAX_MODEL_BYTES, LinearModel, ModelError
from .request import read_task_model

MODELS = Path(__file__).resolve().parent / "models"
SHIPPED = MODELS / "request.json"


def load_task_model(path: Path | None = None) -> LinearModel:
    """The model at `path`, or the shipped one. Raises ModelError."""
    file = SHIPPED if path is None else path
    return read_task_model(_content(file), str(file))


def load_account_model(path: Path | None = None) -> LinearModel:
    """Of one account's behaviour, likewise. Raises ModelError."""
    file = MODELS / "account.json" if path is None else path
    return read_account_model(_content(file), str(file))


def load_cluster_model(path: Path | None = None) -> LinearModel:
    """Of a group of accounts, likewise. Raises ModelError."""
    file = MODELS / "cluster.json" if path is None else path
    return read_cluster_model(_content(file), str(file))


class ModelHolder:
    """The model in force. Building one raises ModelError where the file cannot be used; with
    `fallback` that model scores until the file is good."""

    def __init__(self, path: Path | None = None, *, fallback: LinearModel | None = None) -> None:
        self._path = path
        self.accounts = load_account_model()
        self.problem: str | None = None
        try:
            self.current = load_task_model(path)
            self._seen = self.current.version
        except ModelError as error:
            if fallback is None:
                raise
            self.current, self.problem, self._seen = fallback, str(error), ""

    def reload_if_changed(self) -> str:
        """`ok`, `unchanged` or `failed`: the last once per bad content, which `problem` keeps
        saying until the file is good again. Never raises. The shipped one does not change."""
        if self._path is None:
            return "unchanged"
        try:
            raw = _content(self._path)
        except ModelError as error:
            return self._failed("", error)
        version = blake2b(raw, digest_size=6).hexdigest()
        if version == self._seen:
            return "unchanged"
        try:
            self.current = read_task_model(raw, str(self._path))
        except ModelError as error:
            return self._failed(version, error)
        self.problem, self._seen = None, version
        return "ok"

    def _failed(self, version: str, error: ModelError) -> str:
        is_new = self._seen != version or self.problem is None
        self._seen, self.problem = version, str(error)
        return "failed" if is_new else "unchanged"


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_MODEL_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{file}: the model cannot be read: {error.strerror}") from None
