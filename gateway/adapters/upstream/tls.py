"""TLS towards the upstream: verified, always."""

from __future__ import annotations

import asyncio
import ssl

from ...errors import UsageError
from .port import UpstreamSettings


def tls_context(settings: UpstreamSettings) -> ssl.SSLContext | None:
    """None for http. Certificate and host name are checked; there is no switch for it.

    Raises UsageError for a CA or client certificate file that cannot be used.
    """
    if settings.scheme != "https":
        return None
    file = settings.ca_file
    try:
        context = ssl.create_default_context(cafile=file)
        if settings.client_cert_file is not None:
            file = settings.client_cert_file
            context.load_cert_chain(file, settings.client_key_file, _no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise UsageError(f"{file}: not usable for TLS: {error}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def ended_by_close_notify(transport: asyncio.BaseTransport) -> bool:
    """Whether an end of file is the peer's word. Without TLS it is; with TLS anyone on the way
    can close a connection, so that a body which only the close ends needs the alert.

    Source: RFC 9112 §9.8.
    """
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if tls is None:
        return True
    try:
        return tls.read(1) == b""
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False


def _no_password() -> str:
    raise ValueError("the key is encrypted; a gateway cannot ask for its password")
