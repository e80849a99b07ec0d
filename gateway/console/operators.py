"""Who may use the admin port: health and metrics anyone, everything else whoever has the token.

Law: it is asked before anything of a body is read, so that nobody without the token costs more
memory than a head; and paths are closed unless they are listed here. The console asks for a session
of its own, which only the token begins.
"""

from __future__ import annotations

import hmac

from fastapi import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
CONSOLE = "/console"
_NEEDED = {"detail": "the admin token is needed: Authorization: Bearer <token>"}


class OperatorsOnly:
    """ASGI middleware. `most_bytes` bounds what an operator may send in one body."""

    def __init__(self, app: ASGIApp, *, token: str, most_bytes: int) -> None:
        self._app = app
        self._token = token.encode()
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
        elif hmac.compare_digest(_bearer(scope), self._token):
            await self._app(scope, _Bounded(receive, self._most_bytes), send)
        else:
            # The rest of a body is not awaited.
            headers = {"www-authenticate": "Bearer", "connection": "close"}
            await JSONResponse(_NEEDED, 401, headers)(scope, receive, send)


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path == CONSOLE or path.startswith(CONSOLE + "/")


class _Bounded:
    """`receive` that ends in a 413 beyond `most_bytes`."""

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._left = most_bytes

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413, f"over {self._most_bytes} bytes: send it in parts")
        return message


def _bearer(scope: Scope) -> bytes:
    """The token that the request carries; empty without one, and where there are several."""
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    scheme, _, token = found[0].partition(b" ") if len(found) == 1 else (b"", b"", b"")
    return token.strip() if scheme.lower() == b"bearer" else b""
