"""How a subject is kept: msgpack of a map, fields by a letter of theirs, defaults left out.

Full names would be a third of an account's bytes. They are read as well, and are what an export
has (`named`). Keyed hashes are kept as bytes, in half their digits. A letter is never given to
another field. Fields that this version does not know are written back unread (`pack(…,
over=stored)`), so that two versions can share a store during a rolling upgrade.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import msgspec

from ..errors import StoreError
from ..model import Subject, with_changes

LETTERS = {
    "account_id": "a",
    "billing_country": "b",
    "created_us": "c",
    "before_ban": "d",
    "email_domain": "e",
    "proofs": "f",
    "grants": "g",
    "phone_country": "h",
    "signup_path": "i",
    "asked_us": "k",
    "sub_users": "m",
    "signup_network": "n",
    "org_id": "o",
    "pseudonym": "p",
    "quotas": "q",
    "contracts": "r",
    "status": "s",
    "tier": "t",
    "signup_country": "u",
    "ownership": "w",
    "payment": "y",
    "cluster_id": "C",
    "linked_users": "L",
    "cluster_state": "S",
    "cluster_since_us": "T",
    "suspicion": "X",
    "cluster_size": "Z",
}
"""A field without a letter is kept under its name."""
_DEFAULTS = {f.name: f.default for f in fields(Subject)}
_KEPT_AS = tuple(
    (name, LETTERS.get(name, name)) for name in _DEFAULTS if name not in ("version", "sub_user")
)
_HASHES = frozenset({"pseudonym", "payment", "signup_network"})
_NAMES = {letter: name for name, letter in _KEPT_AS} | {name: name for name in _DEFAULTS}
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


def pack(subject: Subject, *, over: bytes | None = None) -> bytes:
    """Without the version, which the store keeps in front. `over` is the stored form that this
    replaces: what a newer version put there survives."""
    kept = {} if over is None else _unknown(over)
    kept |= {
        letter: _halved(value) if name in _HASHES else value
        for name, letter in _KEPT_AS
        if (value := getattr(subject, name)) != _DEFAULTS[name] and value not in ({}, ())
    }
    return _encode(kept)


def _halved(digits: str) -> str | bytes:
    """The bytes behind lower-case hexadecimal digits; any other text as it is."""
    try:
        packed = bytes.fromhex(digits)
    except ValueError:
        return digits
    return packed if packed.hex() == digits else digits


def _known(kept: dict[str, Any]) -> dict[str, Any]:
    """Fields of this version, by name."""
    return {
        _NAMES[one]: value.hex() if type(value) is bytes else value
        for one, value in kept.items()
        if one in _NAMES
    }


def _unknown(stored: bytes) -> dict[str, Any]:
    try:
        packed = _decode(stored.partition(b"\n")[2])
    except msgspec.MsgspecError:
        return {}  # it is being replaced
    return {name: value for name, value in packed.items() if name not in _NAMES}


def named(packed: bytes) -> dict[str, Any]:
    """Everything that is kept, by full names. Raises StoreError for what is no subject."""
    try:
        kept = _decode(packed)
    except msgspec.MsgspecError as error:
        raise StoreError("refused", f"an account in the store cannot be read: {error}") from None
    return _known(kept) | {one: value for one, value in kept.items() if one not in _NAMES}


def unpack(packed: bytes, version: int) -> Subject:
    """Raises StoreError for what is no subject."""
    try:
        known = _known(_decode(packed))
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
