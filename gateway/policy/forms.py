"""How domains, paths, SDKs and hashes look, so that a text which none has is an error at once.

Each function says why no value of the signal has the text as a whole, at its start or somewhere
in it; None when one may.
"""

from __future__ import annotations

import re

from .source import shown

HASHED = frozenset({"key", "payment", "signup_network", "client_network", "end_user"})
"""Keyed hashes of 32 hex digits: what was sent never equals one."""
_WITHOUT_STARS = frozenset({"email_domain", "model", "path", "sdk"})
_HASH = re.compile(r"[0-9a-f]{32}")
_HASH_PART = re.compile(r"[0-9a-f*]{1,32}")
_NOT_ISO = {"UK": "GB", "EL": "GR"}


def whole_fault(signal: str, text: str) -> str | None:
    fault = start_fault(signal, text)
    if fault is not None:
        return fault
    if signal in _WITHOUT_STARS and "*" in text:
        return f"{shown(text)} never matches: write {{glob: {shown(text)}}}"
    if signal == "email_domain" and text.startswith("."):
        return f"{shown(text)} never matches: write {{suffix: {shown(text)}}}"
    if signal == "sdk" and "/" not in text:
        meant = shown(f"{text}/")
        return f"{shown(text)} never matches: an SDK has a version; write {{prefix: {meant}}}"
    if signal in HASHED and not _HASH.fullmatch(text):
        return _hash_fault(signal)
    return None


def country_fault(text: str) -> str | None:
    """The two codes in daily use that ISO 3166-1 gives to nobody."""
    meant = _NOT_ISO.get(text)
    return f"{shown(text)} never matches; did you mean {meant}?" if meant else None


def affix_fault(signal: str, text: str) -> str | None:
    """Why a beginning or an end cannot be meant as it stands: a star stands for itself there."""
    if signal in _WITHOUT_STARS and "*" in text:
        return f"{shown(text)} never matches: * stands for any text under glob only"
    return None


def start_fault(signal: str, text: str) -> str | None:
    product = text.partition("/")[0]
    if signal == "sdk" and product != product.lower():
        return f"{shown(text)} never matches: names of SDKs are compared in lower case"
    if signal == "path" and text[:1] not in ("/", "*"):
        meant = shown(f"/{text}")
        return f"{shown(text)} never matches: paths begin with /; did you mean {meant}?"
    return part_fault(signal, text)


def part_fault(signal: str, text: str) -> str | None:
    if signal == "path" and "?" in text:
        return f"{shown(text)} never matches: a path is what stands before the ?"
    if signal in HASHED and not _HASH_PART.fullmatch(text):
        return _hash_fault(signal)
    return _domain_fault(text) if signal == "email_domain" else None


def _hash_fault(signal: str) -> str:
    """Without the text, which may be a key."""
    return f"never matches: {signal} is a keyed hash of 32 hex digits, never what was sent"


def _domain_fault(text: str) -> str | None:
    if text != text.lower():
        return f"{shown(text)} never matches: domains are compared in lower case"
    _, at, domain = text.rpartition("@")
    if at:
        hint = f"; did you mean {shown(domain)}?" if domain else ""
        return f"{shown(text)} never matches: a domain is what stands behind the @{hint}"
    if "/" in text or any(map(str.isspace, text)):
        return f"{shown(text)} never matches: domains have neither / nor spaces"
    return None
