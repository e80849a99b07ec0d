"""The Lua that travels in the package."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    source: bytes
    sha: str


def load_script(name: str) -> Script:
    source = files(__package__).joinpath("lua", f"{name}.lua").read_bytes()
    return Script(source, hashlib.sha1(source, usedforsecurity=False).hexdigest())


CHARGE = load_script("charge")
SETTLE = load_script("settle")
PUT_SUBJECT = load_script("put_subject")
EXTEND = load_script("extend")
LEASE = load_script("lease")
COMMIT_SNAPSHOT = load_script("commit_snapshot")
STREAM_LAG = load_script("stream_lag")
# The hot path's, which every connection knows beforehand.
ALL_SOURCES = (CHARGE.source, SETTLE.source, PUT_SUBJECT.source, EXTEND.source)
