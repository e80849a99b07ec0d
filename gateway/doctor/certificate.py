"""How long the gateway's TLS certificate holds; whether it can be used at all, `settings` says."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

from ..settings import Settings
from .finding import Finding, bad, ok, warning

TOPIC = "certificate"
WARN_DAYS = 21
DAY_S = 86_400
FIX = "renew it, then restart the gateways one after another: it is read at start"


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    if settings.tls_cert is None or settings.tls_key is None:
        return
    try:
        ends_s = ends_at(settings.tls_cert, settings.tls_key)
    except ssl.SSLCertVerificationError as error:  # also one that does not hold yet
        yield bad(TOPIC, f"{settings.tls_cert}: {error.verify_message}", FIX)
        return
    except (OSError, ValueError):
        return  # `settings` says so
    days = (ends_s - time.time()) / DAY_S
    said = f"{settings.tls_cert} ends in {days:.0f} days"
    yield warning(TOPIC, said, FIX) if days < WARN_DAYS else ok(TOPIC, said)


def ends_at(cert: Path, key: Path) -> int:
    """Unix seconds at which it ends. Raises SSLCertVerificationError where it has ended or has not
    begun, OSError or ValueError where the files cannot be used.

    By a handshake with ourselves in memory: the standard library reads a certificate only when a
    peer shows it and it is trusted.
    """
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(cert, key, _no_password)
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it need not lead to a root
    asking.load_verify_locations(cert)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.wrap_bio(there, back, server_side=True)
    client = asking.wrap_bio(back, there)
    waiting = [client, server]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    shown = client.getpeercert() or {}
    return ssl.cert_time_to_seconds(str(shown["notAfter"]))


def _no_password() -> str:
    raise ValueError("the key is encrypted")
