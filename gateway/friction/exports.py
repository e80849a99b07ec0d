"""Grants as lines that can be kept elsewhere and taken back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from ..model import Grant, Level, Subject
from .record import MAX_GRANTS, with_proof


class _Grant(msgspec.Struct):
    level: str
    granted_us: int
    expires_us: int | None = None


class _Line(msgspec.Struct):
    account_id: str
    grants: list[_Grant]
    proofs: list[str] = []


def read_export(line: dict[str, Any]) -> tuple[str, list[Grant], list[str]]:
    """(account, grants, proofs). Raises ValueError that says what is wrong."""
    try:
        said = msgspec.convert(line, _Line)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    if len(said.grants) > MAX_GRANTS:
        raise ValueError(f"over {MAX_GRANTS} grants")
    unknown = [one.level for one in said.grants if one.level.upper() not in Level.__members__]
    if unknown:
        raise ValueError(f"no such level: {unknown[0]}")
    grants = [Grant(Level[g.level.upper()], g.granted_us, g.expires_us) for g in said.grants]
    return said.account_id, grants, said.proofs


def restored(subject: Subject, missing: Iterable[Grant], proofs: Iterable[str]) -> Subject:
    """The account with what an export had of it and it has not."""
    kept = subject.proofs
    for proof in proofs:
        kept = with_proof(kept, proof)
    return replace(subject, grants=(*subject.grants, *missing)[-MAX_GRANTS:], proofs=kept)
