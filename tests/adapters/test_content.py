from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
import zstandard

from gateway.adapters.content import MAX_ZSTD_WINDOW_BYTES, decode_content
from gateway.errors import RequestError

TEXT = b'{"model":"m"}' * 100
LIMIT_BYTES = len(TEXT)


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


def wide_window(body: bytes) -> bytes:
    log = MAX_ZSTD_WINDOW_BYTES.bit_length()
    parameters = zstandard.ZstdCompressionParameters(window_log=log, enable_ldm=True)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(body) + stream.flush()


ENCODED = [
    pytest.param(b"", TEXT, id="no-coding"),
    pytest.param(b"identity", TEXT, id="identity"),
    pytest.param(b"gzip", gzip.compress(TEXT), id="gzip"),
    pytest.param(b" GZip ", gzip.compress(TEXT), id="gzip-by-any-case"),
    pytest.param(b"x-gzip", gzip.compress(TEXT), id="x-gzip"),
    pytest.param(b"deflate", zlib.compress(TEXT), id="deflate"),
    pytest.param(b"zstd", zstandard.compress(TEXT), id="zstd"),
]


@pytest.mark.parametrize(("coding", "raw"), ENCODED)
def test_a_body_is_read_up_to_exactly_the_limit(coding: bytes, raw: bytes) -> None:
    assert decode_content(raw, coding, limit_bytes=LIMIT_BYTES) == TEXT
    with pytest.raises(RequestError) as refused:
        decode_content(raw, coding, limit_bytes=LIMIT_BYTES - 1)
    assert (refused.value.status, refused.value.reason) == (413, "request_too_large")


def test_a_zstd_frame_of_unknown_size_is_read() -> None:
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    raw = stream.compress(TEXT) + stream.flush()
    assert decode_content(raw, b"zstd", limit_bytes=LIMIT_BYTES) == TEXT


UNREADABLE = [
    pytest.param(b"br", TEXT, "unsupported_encoding", id="br"),
    pytest.param(b"compress", TEXT, "unsupported_encoding", id="compress"),
    pytest.param(b"gzip, gzip", TEXT, "unsupported_encoding", id="stacked"),
    pytest.param(b"identity, gzip", TEXT, "unsupported_encoding", id="stacked-on-identity"),
    pytest.param(b"gzip", TEXT, "malformed_encoding", id="not-gzip"),
    pytest.param(b"gzip", b"", "malformed_encoding", id="nothing"),
    pytest.param(b"gzip", gzip.compress(TEXT)[:-9], "malformed_encoding", id="gzip-cut-short"),
    pytest.param(b"gzip", gzip.compress(TEXT) + b"x", "malformed_encoding", id="gzip-and-more"),
    pytest.param(b"gzip", gzip.compress(TEXT) * 2, "malformed_encoding", id="two-gzip-members"),
    pytest.param(b"deflate", raw_deflate(TEXT), "malformed_encoding", id="deflate-without-zlib"),
    pytest.param(b"zstd", zstandard.compress(TEXT)[:-3], "malformed_encoding", id="zstd-cut-short"),
    pytest.param(b"zstd", zstandard.compress(TEXT) * 2, "malformed_encoding", id="two-zstd-frames"),
    pytest.param(b"zstd", TEXT, "malformed_encoding", id="not-zstd"),
    pytest.param(b"zstd", wide_window(TEXT), "malformed_encoding", id="zstd-window-too-wide"),
]


@pytest.mark.parametrize(("coding", "raw", "reason"), UNREADABLE)
def test_what_cannot_be_read_in_one_way_is_refused(coding: bytes, raw: bytes, reason: str) -> None:
    with pytest.raises(RequestError) as refused:
        decode_content(raw, coding, limit_bytes=1 << 20)
    assert (refused.value.status, refused.value.reason) == (400, reason)


BOMB = bytes(200 << 20)


@pytest.mark.parametrize(
    ("coding", "raw"),
    [
        pytest.param(b"gzip", gzip.compress(BOMB, 9), id="gzip"),
        pytest.param(b"deflate", zlib.compress(BOMB, 9), id="deflate"),
        pytest.param(b"zstd", zstandard.compress(BOMB, 3), id="zstd"),
    ],
)
def test_a_bomb_stops_at_the_limit_in_time_and_memory(coding: bytes, raw: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RequestError) as refused:
            decode_content(raw, coding, limit_bytes=1 << 20)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.status == 413
    assert peak_bytes < 8 << 20
