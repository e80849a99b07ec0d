"""The request's head as bytes: pure, and the only place where header injection is stopped.

Source: RFC 9112 §3 (request line), §5 (field syntax), §6 (framing); RFC 9110 §5.1 (names).
"""

from __future__ import annotations

from collections.abc import Sequence

from .faults import refused
from .port import Body

# Ours alone: who is addressed, where the message ends, what becomes of the connection.
_OWN = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
        b"expect",
    }
)
_NAME_BYTES = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_ORDINARY_BYTES = bytes(set(range(256)) - set(b"\r\n\0"))
_TARGET_BYTES = bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100))
_OWN_PARTS = 7
_PARTS_PER_FIELD = 4
_METHODS_WITHOUT_BODY = frozenset({b"GET", b"HEAD", b"DELETE", b"OPTIONS"})


def encode_head(
    method: bytes,
    target: bytes,
    host_line: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    body: Body,
) -> bytes:
    """Everything up to and including the empty line. `host_line` is `host: …` without CRLF.

    Raises UpstreamError `protocol_error`, unsent, for a name that is no lower-case token, a
    value with CR, LF or NUL, a target with white space or control bytes, CONNECT.
    """
    parts = [method, b" ", target, b" HTTP/1.1\r\n", host_line, b"\r\n"]
    names = []
    for name, value in headers:
        names.append(name)
        if name not in _OWN:
            parts += (name, b": ", value, b"\r\n")
    ending = _framing(method, body)
    parts.append(ending)
    head = b"".join(parts)
    if b"".join(names).translate(None, _NAME_BYTES) or b"" in names:
        raise refused("a header name is no lower-case token")
    line_count = 2 + (len(parts) - _OWN_PARTS) // _PARTS_PER_FIELD + ending.count(b"\n")
    if head.translate(None, _ORDINARY_BYTES) != b"\r\n" * line_count:
        raise refused("a header value has CR, LF or NUL")
    if target[:1] != b"/" or target.translate(None, _TARGET_BYTES):
        raise refused("the target is no path, or has white space or control bytes")
    if not method.isalpha() or not method.isupper() or method == b"CONNECT":
        raise refused("not a method that can be relayed")
    return head


def _framing(method: bytes, body: Body) -> bytes:
    """The framing line, where one is needed, and the empty line."""
    if body is not None and not isinstance(body, bytes):
        return b"transfer-encoding: chunked\r\n\r\n"
    if body or method not in _METHODS_WITHOUT_BODY:
        return b"content-length: %d\r\n\r\n" % len(body or b"")
    return b"\r\n"
