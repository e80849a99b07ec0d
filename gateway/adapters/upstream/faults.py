"""The only place where foreign exceptions become `UpstreamError`."""

from __future__ import annotations

import ssl

import httptools

from ...errors import UpstreamError


class MalformedError(httptools.HttpParserError):
    """The response breaks a rule that the parser does not check."""


def connect_fault(error: Exception) -> UpstreamError:
    """Looking up the name (not found is an OSError too), connecting or the handshake failed."""
    if isinstance(error, TimeoutError):
        return UpstreamError("connect_timeout", "no connection in time", sent=False)
    # Nothing but a handshake can be broken off before a connection is there.
    is_tls = isinstance(error, ssl.SSLError | ConnectionResetError | ConnectionAbortedError)
    return UpstreamError("tls_failed" if is_tls else "connect_failed", _say(error), sent=False)


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
