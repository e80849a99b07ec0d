"""How a subject is kept: msgpack of a map, fields by name, defaults left out.

Fields that this version does not know are written back unread (`pack(…, over=stored)`), so that
two versions can share a store during a rolling upgrade.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import msgspec

from ..errors import StoreError
from ..model import Subject, with_changes

_DEFAULTS = {f.name: f.default for f in fields(Subject)}
_NAMES = tuple(f.name for f in fields(Subject) if f.name != "version")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


def pack(subject: Subject, *, over: bytes | None = None) -> bytes:
    """Without the version, which the store keeps in front. `over` is the stored form that this
    replaces: what a newer version put there survives."""
    kept = {} if over is None else _unknown(over)
    kept |= {
        name: value
        for name in _NAMES
        if (value := getattr(subject, name)) != _DEFAULTS[name] and value not in ({}, ())
    }
    return _encode(kept)


def _unknown(stored: bytes) -> dict[str, Any]:
    try:
        packed = _decode(stored.partition(b"\n")[2])
    except msgspec.MsgspecError:
        return {}  # it is being replaced
    return {name: value for name, value in packed.items() if name not in _DEFAULTS}


def unpack(packed: bytes, version: int) -> Subject:
    """Raises StoreError for what is no subject."""
    try:
        known = {name: value for name, value in _decode(packed).items() if name in _DEFAULTS}
        return with_changes(msgspec.convert(known, Subject, strict=False), version=version)
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise StoreError("refused", f"an account in the store cannot be read: {error}") from None


def join(version: int, packed: bytes) -> bytes:
    return b"%d\n%b" % (version, packed)


def split(stored: bytes) -> Subject:
    """From the stored form, `version\\n` and msgpack. Raises StoreError."""
    version, newline, packed = stored.partition(b"\n")
    if not newline or not version.isdigit():
        raise StoreError("refused", "an account in the store cannot be read: no version")
    return unpack(packed, int(version))
