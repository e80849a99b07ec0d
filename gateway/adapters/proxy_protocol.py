"""The PROXY protocol, versions 1 and 2: a balancer says, before HTTP, who connected to it.

Pure parsing of the first bytes of a connection. Source: the PROXY protocol specification of HAProxy
(proxy-protocol.txt, sections 2.1 and 2.2). Whether the peer may say so at all is the listener's
business: only one of the trusted proxies may.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

SIGNATURE_2 = b"\r\n\r\n\x00\r\nQUIT\n"
SIGNATURE_1 = b"PROXY "
MAX_LINE_BYTES = 107  # version 1, with its CRLF
MAX_HEADER_BYTES = 4096  # version 2, with what it carries besides addresses
_HEAD_2 = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0, 1
_FAMILY_4, _FAMILY_6 = 1, 2
_PORTS = struct.Struct("!HH")


class ProxyProtocolError(ValueError):
    """The connection does not begin as the protocol says: it must be closed."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """`client` is (address, port) of who connected to the balancer; None where the balancer speaks
    for itself (a health check) or cannot say. `length` bytes belong to the header."""

    client: tuple[str, int] | None
    length: int
    is_local: bool = False


def read_proxy_header(data: bytes) -> ProxyHeader | None:
    """None while more bytes are needed. Raises ProxyProtocolError."""
    if data.startswith(SIGNATURE_2):
        return _version_2(data)
    if data.startswith(SIGNATURE_1):
        return _version_1(data)
    if SIGNATURE_2.startswith(data) or SIGNATURE_1.startswith(data):
        return None
    raise ProxyProtocolError("no PROXY header")


def _version_1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, MAX_LINE_BYTES)
    if end < 0:
        if len(data) >= MAX_LINE_BYTES:
            raise ProxyProtocolError("the line is too long")
        return None
    words = data[:end].decode("latin-1").split(" ")
    length = end + 2
    if words[1] == "UNKNOWN":
        return ProxyHeader(None, length)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise ProxyProtocolError("the line is not as it should be")
    kind = IPv4Address if words[1] == "TCP4" else IPv6Address
    try:
        source, _ = kind(words[2]), kind(words[3])
    except ValueError:
        raise ProxyProtocolError("an address is none") from None
    return ProxyHeader((str(source), _port(words[4])), length)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5) or int(text) > 65_535:
        raise ProxyProtocolError("a port is none")
    return int(text)


def _version_2(data: bytes) -> ProxyHeader | None:
    if len(data) < _HEAD_2.size:
        return None
    _, version_command, family, length = _HEAD_2.unpack_from(data)
    if version_command >> 4 != 2 or length > MAX_HEADER_BYTES:
        raise ProxyProtocolError("not version 2, or too long")
    if len(data) < _HEAD_2.size + length:
        return None
    whole, command = _HEAD_2.size + length, version_command & 0xF
    if command == _LOCAL:
        return ProxyHeader(None, whole, is_local=True)
    if command != _PROXY:
        raise ProxyProtocolError("neither LOCAL nor PROXY")
    return ProxyHeader(_addresses(family >> 4, data[_HEAD_2.size : whole]), whole)


def _addresses(family: int, block: bytes) -> tuple[str, int] | None:
    """None for families without an IP address (UNSPEC, UNIX)."""
    if family not in (_FAMILY_4, _FAMILY_6):
        return None
    size = 4 if family == _FAMILY_4 else 16
    if len(block) < 2 * size + _PORTS.size:
        raise ProxyProtocolError("its addresses are cut off")
    kind = IPv4Address if family == _FAMILY_4 else IPv6Address
    source_port, _ = _PORTS.unpack_from(block, 2 * size)
    return str(kind(block[:size])), source_port
