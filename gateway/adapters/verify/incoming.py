"""What comes in at the public pages, within bounds; its refusal; the headers of every answer."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request

MAX_FORM_BYTES = 16_384
BODY_TIMEOUT_S = 15.0  # a form is 16 KB at most, and anybody may begin one
SECURITY = {
    "cache-control": "no-store",
    "referrer-policy": "same-origin",  # no-referrer would have browsers send Origin: null
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "content-security-policy": "default-src 'none'; style-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}


class RefusedError(Exception):
    """Answered with this status; `text` is for the visitor."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


async def read_fields(request: Request, timeout_s: float) -> tuple[dict[str, str], bool]:
    """The texts of a form or of a JSON object, and whether it was a form. Raises RefusedError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await read_body(request, MAX_FORM_BYTES, timeout_s)
    if kind == "application/x-www-form-urlencoded":
        try:
            parsed = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=16)
        except ValueError:
            raise RefusedError(400, "malformed", "The form cannot be read.") from None
        return {name: values[0] for name, values in parsed.items()}, True
    if kind != "application/json":
        raise RefusedError(415, "malformed", "Send a form or application/json.")
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RefusedError(400, "malformed", "The body is no JSON.") from None
    if not isinstance(said, dict):
        raise RefusedError(400, "malformed", "The body is no JSON object.")
    return {name: value for name, value in said.items() if isinstance(value, str)}, False


async def read_body(request: Request, most_bytes: int, timeout_s: float) -> bytes:
    """Raises RefusedError: 408 where it does not arrive in time, 413 where it is larger."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _collect(request, most_bytes)
    except TimeoutError:
        raise RefusedError(408, "too_slow", "The text did not arrive in time.") from None


async def _collect(request: Request, most_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > most_bytes:
            raise RefusedError(413, "too_large", "That is too much text.")
        body += chunk
    return bytes(body)
