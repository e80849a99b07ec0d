"""Names of rules and limits: unique in a policy, and never a reason of the gateway's own."""

from __future__ import annotations

import re

from .schema import NAME_PATTERN
from .source import Place, Report, shown

_NAME = re.compile(NAME_PATTERN)
RESERVED = frozenset(
    {
        "ok",
        "provisional",
        "account_banned",
        "unknown_credential",
        "missing_credential",
        "route_not_listed",
        "store_unavailable",
        # what a request that cannot be read is refused for
        "ambiguous_key",
        "batch_mixed_models",
        "batch_not_countable",
        "body_too_large",
        "body_too_slow",
        "byte_order_mark",
        "conflicting_credentials",
        "credential_in_query",
        "duplicate_header",
        "duplicate_key",
        "empty_body",
        "gateway_busy",
        "invalid_api_key",
        "invalid_field",
        "invalid_identity",
        "invalid_utf8",
        "length_required",
        "malformed_encoding",
        "malformed_json",
        "missing_model",
        "not_an_object",
        "request_too_large",
        "too_deep",
        "unsafe_connection_option",
        "unsupported_encoding",
        "unsupported_expectation",
    }
)


def is_name(name: str, place: Place, report: Report) -> bool:
    """Whether it is written as names are; the report says when not."""
    if _NAME.fullmatch(name):
        return True
    report.error(place, f"{shown(name)} must be 1 to 40 of a-z, 0-9, - and _, not - or _ first")
    return False


class NameBook:
    """Who has which name."""

    def __init__(self, report: Report) -> None:
        self._taken: dict[str, Place] = {}
        self._report = report

    def take(self, name: str, place: Place) -> None:
        """The report says when the name may not be used."""
        where = place / "name"
        if not is_name(name, where, self._report):
            return
        if name.replace("-", "_") in RESERVED:
            self._report.error(where, f"{name} is a reason of the gateway's own")
        elif name in self._taken:
            self._report.error(where, f"{name} is taken already in {self._taken[name]}")
        else:
            self._taken[name] = place
