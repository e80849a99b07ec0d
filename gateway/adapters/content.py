"""Content codings of request and response bodies, always with a bound on what comes out."""

from __future__ import annotations

import zlib

import zstandard

from ..errors import RequestError

GZIP_WBITS = 31
ZLIB_WBITS = 15
MAX_ZSTD_WINDOW_BYTES = 8 << 20  # RFC 9659: what a receiver of `zstd` content must support
_WBITS = {b"gzip": GZIP_WBITS, b"x-gzip": GZIP_WBITS, b"deflate": ZLIB_WBITS}


def decode_content(raw: bytes, content_encoding: bytes, *, limit_bytes: int) -> bytes:
    """The body without its content coding; never more than `limit_bytes` in memory.

    Reads gzip, deflate (zlib format, as RFC 9110 §8.4.1.2 defines it) and zstd, one frame or
    member each. Stacked codings are refused, and so is br: docs/adr/0006-no-brotli-requests.md.

    Raises RequestError 413 `request_too_large` at the limit, 400 `unsupported_encoding` or
    `malformed_encoding`.
    """
    coding = content_encoding.strip().lower()
    if coding in (b"", b"identity"):
        if len(raw) > limit_bytes:
            raise _too_large(limit_bytes)
        return raw
    if coding in _WBITS:
        return _inflate(raw, _WBITS[coding], limit_bytes)
    if coding == b"zstd":
        return _expand_zstd(raw, limit_bytes)
    raise RequestError(
        400,
        "unsupported_encoding",
        "Content-Encoding must be one of identity, gzip, deflate or zstd, and only one.",
    )


def _inflate(raw: bytes, wbits: int, limit_bytes: int) -> bytes:
    stream = zlib.decompressobj(wbits)
    try:
        body = stream.decompress(raw, limit_bytes + 1)
    except zlib.error:
        raise _malformed() from None
    if len(body) > limit_bytes:
        raise _too_large(limit_bytes)
    if not stream.eof or stream.unused_data:
        raise _malformed()
    return body


def _expand_zstd(raw: bytes, limit_bytes: int) -> bytes:
    """Measured first: the one-shot decoder has no bound, the bounded reader no end of frame."""
    decoder = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW_BYTES)
    try:
        with decoder.stream_reader(raw) as reader:
            if len(reader.read(limit_bytes + 1)) > limit_bytes:
                raise _too_large(limit_bytes)
        frame = decoder.decompressobj()
        body = frame.decompress(raw)
    except zstandard.ZstdError:
        raise _malformed() from None
    if not frame.eof or frame.unused_data:
        raise _malformed()
    return body


def _too_large(limit_bytes: int) -> RequestError:
    return RequestError(
        413, "request_too_large", f"The body is larger than {limit_bytes} bytes when decoded."
    )


def _malformed() -> RequestError:
    return RequestError(
        400,
        "malformed_encoding",
        "The body is not what Content-Encoding says: it is damaged, cut short or followed by more.",
    )
