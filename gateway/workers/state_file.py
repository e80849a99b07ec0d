"""What people decided, as one file: JSON Lines between a head and a checksum.

    {"kind":"head","format":1,"secret":…,"made_at":…,"left_out":[…]}
    {"kind":"account",…} | {"kind":"proof",…} | {"kind":"appeal",…} | {"kind":"news",…}
    {"kind":"decision",…} | {"kind":"mode",…}
    {"kind":"end","counts":{…},"sha256":…}       of every byte before this line

Law: nothing is written into a store before the whole file has been read, its checksum found right
and every record understood. Law: neither a raw key nor the secret is ever in it; what is hashed is
worth nothing under another secret, so that a file of another secret is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from ..errors import HydragateError, StoreError
from ..stores.state import Record, check_subject

FORMAT = 1
MAX_LINE_BYTES = 16 << 20
LEFT_OUT = (
    "counters, leases and windows: limits begin full, windows with an empty past",
    "the linker's evidence and what it concluded: accounts keep the cluster they carry",
    "policies, sets and their exceptions: files of yours",
    "decision logs and audit.jsonl: files in the data directory",
    "raw keys and the secret: never in here",
)
_FIELDS = {
    "account": ("account_id", "subject", "keys"),
    "proof": ("proof", "holders"),
    "appeal": ("account_id", "at_ms"),
    "news": ("event_id", "packed"),
    "decision": ("decision",),
    "mode": ("shadow_all",),
}


class StateFileError(HydragateError):
    """The file cannot be used; the message says where and why."""


class StateWriter:
    """Writes records in order; `finish` seals the file. Until then it is no state file."""

    def __init__(self, path: Path, *, secret: str, made_at: str, version: str) -> None:
        """The file holds personal data, so that only its owner may read it. Raises OSError, also
        when there is a file already."""
        self.counts: Counter[str] = Counter()
        self._digest = hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._file = os.fdopen(os.open(path, flags, 0o600), "wb")
        head = {"kind": "head", "format": FORMAT, "secret": secret, "made_at": made_at}
        self._write(head | {"hydragate": version, "left_out": LEFT_OUT})

    def add(self, record: Record) -> None:
        self.counts[record["kind"]] += 1
        self._write(record)

    def finish(self) -> None:
        sealed = self._digest.hexdigest()
        self._write({"kind": "end", "counts": dict(self.counts), "sha256": sealed})
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()

    def close(self) -> None:
        self._file.close()

    def _write(self, record: Record) -> None:
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
        self._digest.update(line)
        self._file.write(line)


def read_head(path: Path, *, secret: str) -> Record:
    """The head of a whole, sound file of this secret. Raises StateFileError, OSError."""
    digest, head, end, counts = hashlib.sha256(), {}, None, Counter[str]()
    for number, line in _lines(path):
        if end is not None:
            raise StateFileError(f"{path}:{number}: there is more behind the end")
        record = _parsed(path, number, line)
        kind = record.get("kind")
        if number == 1:
            head = _checked_head(path, record, secret)
        elif kind == "end":
            end = record
        else:
            _check(path, number, record)
            counts[str(kind)] += 1
        if end is None:
            digest.update(line)
    if end is None:
        raise StateFileError(f"{path}: it has no end: it was cut, or its export did not finish")
    if end.get("sha256") != digest.hexdigest() or end.get("counts") != dict(counts):
        raise StateFileError(f"{path}: the checksum differs: it was changed after its export")
    return head | {"counts": dict(counts)}


def records(path: Path) -> Iterator[Record]:
    """Of a file that `read_head` found sound."""
    for number, line in _lines(path):
        record = _parsed(path, number, line)
        if record["kind"] not in ("head", "end"):
            yield record


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise StateFileError(f"{path}:{number}: over {MAX_LINE_BYTES} bytes")
            yield number, line


def _parsed(path: Path, number: int, line: bytes) -> Record:
    try:
        record: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise StateFileError(f"{path}:{number}: is no JSON: {error}") from None
    if not isinstance(record, dict):
        raise StateFileError(f"{path}:{number}: is no object")
    return record


def _checked_head(path: Path, head: Record, secret: str) -> Record:
    if head.get("kind") != "head":
        raise StateFileError(f"{path}: is no state file; `hydragate state export` makes one")
    if head.get("format") != FORMAT:
        raise StateFileError(
            f"{path}: format {head.get('format')}, and this version reads {FORMAT}; import it "
            f"with the version that wrote it ({head.get('hydragate')})"
        )
    if head.get("secret") != secret:
        raise StateFileError(
            f"{path}: was exported under another secret, so that no key in it would be "
            "recognised; name that --secret-file, for the gateways too"
        )
    return head


def _check(path: Path, number: int, record: Record) -> None:
    kind = record.get("kind")
    fields = _FIELDS.get(str(kind))
    if fields is None:
        raise StateFileError(f"{path}:{number}: kind: this version knows no '{kind}'")
    missing = [name for name in fields if name not in record]
    if missing:
        raise StateFileError(f"{path}:{number}: {kind}: {', '.join(missing)} is missing")
    if kind == "account":
        try:
            check_subject(record)
        except StoreError as error:
            raise StateFileError(f"{path}:{number}: {error.detail}") from None
