"""Grants as lines that can be kept elsewhere and taken back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from ..model import Grant, Level, Subject, with_changes
from .record import MAX_GRANTS, MAX_PROOFS, with_proof

_LEVELS = {level.name.lower(): level for level in Level if level is not Level.NONE}
_PROOF = re.compile(r"[a-z]{2}:[0-9a-f]{20}")


class _Grant(msgspec.Struct):
    level: str
    granted_us: int
    expires_us: int | None = None


class _Line(msgspec.Struct):
    account_id: str
    grants: list[_Grant]
    proofs: list[str] = []


def read_export(line: dict[str, Any], now_us: int) -> tuple[str, list[Grant], list[str]]:
    """(account, live grants, proofs). Raises ValueError that says what is wrong."""
    try:
        said = msgspec.convert(line, _Line)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    if len(said.grants) > MAX_GRANTS:
        raise ValueError(f"over {MAX_GRANTS} grants")
    unknown = [one.level for one in said.grants if one.level not in _LEVELS]
    if unknown:
        raise ValueError(f"no such level: {unknown[0]}; there are {', '.join(_LEVELS)}")
    if len(said.proofs) > MAX_PROOFS or not all(_PROOF.fullmatch(one) for one in said.proofs):
        raise ValueError(f"proofs: at most {MAX_PROOFS}, as `export` prints them")
    grants = [
        Grant(_LEVELS[one.level], one.granted_us, one.expires_us)
        for one in said.grants
        if one.expires_us is None or one.expires_us > now_us
    ]
    return said.account_id, grants, said.proofs


def restored(subject: Subject, missing: Iterable[Grant], proofs: Iterable[str]) -> Subject:
    """The account with what an export had of it and it has not."""
    kept = subject.proofs
    for proof in proofs:
        kept = with_proof(kept, proof)
    return with_changes(subject, grants=(*subject.grants, *missing)[-MAX_GRANTS:], proofs=kept)
