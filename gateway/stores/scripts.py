"""The Lua that travels in the package."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    source: bytes
    sha: str


def load_script(*names: str) -> Script:
    """One script out of one file, or of several behind each other."""
    folder = files(__package__).joinpath("lua")
    source = b"".join([folder.joinpath(f"{name}.lua").read_bytes() for name in names])
    return Script(source, hashlib.sha1(source, usedforsecurity=False).hexdigest())


CHARGE = load_script("charge")
SETTLE = load_script("window", "settle")
PUT_SUBJECT = load_script("put_subject")
EXTEND = load_script("extend")
LEASE = load_script("lease")
COMMIT_SNAPSHOT = load_script("commit_snapshot")
STREAM_LAG = load_script("stream_lag")
COMMIT_VERIFICATION = load_script("commit_verification")
CLAIM_PROOF = load_script("claim_proof")
# The hot path's, which every connection knows beforehand.
ALL_SOURCES = (CHARGE.source, SETTLE.source, PUT_SUBJECT.source, EXTEND.source)
