"""What a request looks like on the wire, and what never gets there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.adapters.upstream.port import Body, UpstreamSettings
from gateway.adapters.upstream.request_head import encode_head
from gateway.errors import UpstreamError, UsageError

HOST = b"host: api.example.com"


async def stream() -> AsyncIterator[bytes]:
    yield b""


def encode(
    method: bytes = b"POST",
    target: bytes = b"/v1/x",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    body: Body = None,
) -> bytes:
    return encode_head(method, target, HOST, headers, body)


FRAMING = {
    "bytes go with their length": (b"POST", b"abc", b"content-length: 3\r\n\r\n"),
    "an iterator goes chunked": (b"POST", stream(), b"transfer-encoding: chunked\r\n\r\n"),
    "a POST without a body says so": (b"POST", None, b"content-length: 0\r\n\r\n"),
    "an empty body is none": (b"PUT", b"", b"content-length: 0\r\n\r\n"),
    "a GET needs no framing": (b"GET", None, b"\r\n"),
    "a GET may have a body": (b"GET", b"abc", b"content-length: 3\r\n\r\n"),
    "a HEAD needs no framing": (b"HEAD", None, b"\r\n"),
}


@pytest.mark.parametrize(("method", "body", "ending"), FRAMING.values(), ids=FRAMING)
def test_framing_follows_the_body(method: bytes, body: Body, ending: bytes) -> None:
    assert encode(method, body=body) == method + b" /v1/x HTTP/1.1\r\n" + HOST + b"\r\n" + ending


def test_fields_keep_order_case_of_values_and_repetition() -> None:
    head = encode(headers=((b"x-b", b"B b"), (b"x-a", b""), (b"x-b", b"\xe9;")))
    assert head.split(b"\r\n")[2:5] == [b"x-b: B b", b"x-a: ", b"x-b: \xe9;"]


@pytest.mark.parametrize(
    "name",
    [
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
    ],
)
def test_what_frames_or_routes_is_never_the_callers(name: bytes) -> None:
    assert encode(headers=((name, b"7"),), body=b"abc") == encode(body=b"abc")


REFUSED: dict[str, tuple[bytes, bytes, tuple[bytes, bytes]]] = {
    "CRLF in a value": (b"POST", b"/", (b"x", b"a\r\ncontent-length: 0")),
    "CR in a value": (b"POST", b"/", (b"x", b"a\rb")),
    "LF in a value": (b"POST", b"/", (b"x", b"a\nb")),
    "CR and LF apart": (b"POST", b"/", (b"x", b"a\nb\rc")),
    "NUL in a value": (b"POST", b"/", (b"x", b"a\0b")),
    "LF in a name": (b"POST", b"/", (b"x\n", b"a")),
    "colon in a name": (b"POST", b"/", (b"x: y", b"a")),
    "space in a name": (b"POST", b"/", (b"content-length ", b"0")),
    "upper case, which would slip past the list of our own": (b"POST", b"/", (b"Host", b"a")),
    "empty name": (b"POST", b"/", (b"", b"a")),
    "CRLF in a name of our own": (b"POST", b"/", (b"te\r\n", b"a")),
    "space in the target": (b"POST", b"/ HTTP/1.1", (b"x", b"a")),
    "CRLF in the target": (b"POST", b"/ HTTP/1.1\r\nx: y", (b"x", b"a")),
    "tab in the target": (b"POST", b"/\t", (b"x", b"a")),
    "NUL in the target": (b"POST", b"/\0", (b"x", b"a")),
    "no path": (b"POST", b"http://elsewhere.example/", (b"x", b"a")),
    "empty target": (b"POST", b"", (b"x", b"a")),
    "space in the method": (b"GET /", b"/", (b"x", b"a")),
    "lower case method": (b"get", b"/", (b"x", b"a")),
    "empty method": (b"", b"/", (b"x", b"a")),
    "a tunnel": (b"CONNECT", b"/", (b"x", b"a")),
}


@pytest.mark.parametrize(("method", "target", "field"), REFUSED.values(), ids=REFUSED)
def test_injection_is_refused_before_writing(
    method: bytes, target: bytes, field: tuple[bytes, bytes]
) -> None:
    with pytest.raises(UpstreamError) as caught:
        encode(method, target, (field,))
    assert (caught.value.kind, caught.value.sent) == ("protocol_error", False)


AUTHORITIES = {
    "scheme's own port": ("https", "api.example.com", 443, b"api.example.com"),
    "port left out": ("http", "api.example.com", 0, b"api.example.com"),
    "another port": ("https", "api.example.com", 8443, b"api.example.com:8443"),
    "the other scheme's port": ("http", "api.example.com", 443, b"api.example.com:443"),
    "IPv6": ("http", "::1", 8080, b"[::1]:8080"),
}


@pytest.mark.parametrize(
    ("scheme", "host", "port", "expected"), AUTHORITIES.values(), ids=AUTHORITIES
)
def test_host_names_the_port_where_it_must(
    scheme: str, host: str, port: int, expected: bytes
) -> None:
    assert UpstreamSettings(scheme=scheme, host=host, port=port).authority == expected


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scheme": "ftp"}, "neither http nor https"),
        ({"host": ""}, "no ASCII name"),
        ({"host": "bücher.example"}, "no ASCII name"),
        ({"host": "a\r\nb"}, "no ASCII name"),
        ({"port": 65_536}, "not in 0..65535"),
        ({"read_timeout_s": 0}, "read_timeout_s must be above 0"),
        ({"max_connections": 0}, "max_connections must be above 0"),
    ],
)
def test_impossible_settings_say_what_is_wrong(changed: dict[str, object], message: str) -> None:
    settings: dict[str, object] = {"scheme": "http", "host": "api.example.com", **changed}
    with pytest.raises(UsageError, match=message):
        UpstreamSettings(**settings)  # type: ignore[arg-type]
