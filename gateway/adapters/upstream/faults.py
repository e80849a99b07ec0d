"""The only place where foreign exceptions become `UpstreamError`."""

from __future__ import annotations

import ssl

import httptools

from ...errors import UpstreamError


class MalformedError(httptools.HttpParserError):
    """The response breaks a rule that the parser does not check."""


def connect_fault(error: Exception) -> UpstreamError:
    """Looking up the name or connecting failed; a name that is not found is an OSError too."""
    if isinstance(error, TimeoutError):
        return UpstreamError("connect_timeout", "no connection in time", sent=False)
    return UpstreamError("connect_failed", _say(error), sent=False)


def handshake_fault(error: Exception) -> UpstreamError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return UpstreamError("tls_failed", error.verify_message or _say(error), sent=False)
    if isinstance(error, TimeoutError):
        return UpstreamError("connect_timeout", "no TLS handshake in time", sent=False)
    return UpstreamError("tls_failed", _say(error), sent=False)


def parse_fault(error: httptools.HttpParserError) -> UpstreamError:
    cause = error.__context__  # what a callback raised
    return UpstreamError(
        "protocol_error", _say(cause if isinstance(cause, MalformedError) else error), sent=True
    )


def loss_fault(error: Exception | None, phase: str) -> UpstreamError:
    """The peer closed or reset the connection during an exchange."""
    detail = f"connection closed {phase}" if error is None else f"{_say(error)} {phase}"
    return UpstreamError("reset", detail, sent=True)


def refused(detail: str) -> UpstreamError:
    """The request cannot be put on the wire as it is."""
    return UpstreamError("protocol_error", detail, sent=False)


def _say(error: BaseException) -> str:
    return str(error) or type(error).__name__
