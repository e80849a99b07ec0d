"""How domains and paths look, so that a text which none of them has is an error at once.

Each function says why no value of the signal has the text as a whole, at its start or somewhere
in it; None when one may.
"""

from __future__ import annotations

from .source import shown


def whole_fault(signal: str, text: str) -> str | None:
    fault = start_fault(signal, text)
    if fault is None and signal == "email_domain":
        if "*" in text:
            return f"{shown(text)} never matches: write {{glob: {shown(text)}}}"
        if text.startswith("."):
            return f"{shown(text)} never matches: write {{suffix: {shown(text)}}}"
    return fault


def start_fault(signal: str, text: str) -> str | None:
    if signal == "path" and text[:1] not in ("/", "*"):
        meant = shown(f"/{text}")
        return f"{shown(text)} never matches: paths begin with /; did you mean {meant}?"
    return part_fault(signal, text)


def part_fault(signal: str, text: str) -> str | None:
    if signal == "path" and "?" in text:
        return f"{shown(text)} never matches: a path is what stands before the ?"
    return _domain_fault(text) if signal == "email_domain" else None


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
