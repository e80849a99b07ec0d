"""Hostile and broken requests: a clear error in the caller's dialect, nothing to the upstream."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.loadtests.processes import GatewayProcess

from .conftest import GOOD_KEY, standin_stats
from .raw_http import chat, connect, exchange, post, read_answer

AUTH = f"Authorization: Bearer {GOOD_KEY}\r\n".encode()


@contextmanager
def nothing_reaches(upstream: str) -> Iterator[None]:
    before = standin_stats(upstream)["by_route"]
    yield
    assert standin_stats(upstream)["by_route"] == before


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"", "empty_body", id="empty"),
        pytest.param(b"{", "malformed_json", id="cut short"),
        pytest.param(b"[]", "not_an_object", id="a list"),
        pytest.param(b'{"model":1,"messages":[]}', "invalid_field", id="model a number"),
        pytest.param(b'{"messages":[]}', "missing_model", id="no model"),
        pytest.param(b'{"model":"m","model":"n","messages":[]}', "duplicate_key", id="twice"),
        pytest.param(
            b'{"model":"m","mod\\u0065l":"n","messages":[]}', "duplicate_key", id="twice, escaped"
        ),
        pytest.param(b'{"model":"m","Model":"n","messages":[]}', "ambiguous_key", id="by case"),
        pytest.param(b'{"model":"m","messages":[],"x":"\xff"}', "invalid_utf8", id="not UTF-8"),
        pytest.param(
            b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            None,
            id="nested 100,000 deep",
        ),
        pytest.param(b'{"model":"m","messages":[],"max_tokens":NaN}', "malformed_json", id="NaN"),
        pytest.param(b'{"model":"m","messages":[]} x', "malformed_json", id="more behind it"),
    ],
)
def test_an_unreadable_body_is_400_and_stays_here(
    server: GatewayProcess, upstream: str, body: bytes, code: str | None
) -> None:
    with nothing_reaches(upstream):
        answer = post(server.url, body, key=GOOD_KEY)
    assert answer.status == 400
    error = answer.json()["error"]
    assert code is None or error["code"] == code
    assert answer.headers["x-hydragate-decision"]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("target", ["*", "*/../v1/chat/completions", "*?x=1"])
def test_what_is_no_path_is_400_and_stays_here(
    server: GatewayProcess, upstream: str, target: str
) -> None:
    with nothing_reaches(upstream):
        assert post(server.url, chat(), key=GOOD_KEY, path=target).status == 400


def test_a_key_in_a_trailer_is_nobodys(server: GatewayProcess, upstream: str) -> None:
    body = chat()
    wire = b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire += b"%x\r\n%b\r\n0\r\n" % (len(body), body) + AUTH + b"\r\n"
    with nothing_reaches(upstream):
        assert exchange(server.url, wire).status == 401


@pytest.mark.parametrize(
    ("path", "key_path"),
    [
        ("/v1/chat/completions", ("error", "message")),
        ("/v1/messages", ("error", "message")),
        ("/elsewhere", ("detail",)),
    ],
)
def test_each_dialect_gets_its_own_error_object(
    server: GatewayProcess, path: str, key_path: tuple[str, ...]
) -> None:
    found = post(server.url, b"{", key=GOOD_KEY, path=path).json()
    for name in key_path:
        found = found[name]
    assert isinstance(found, str)
    assert found


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length : 5\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"X: " + b"a" * 70_000 + b"\r\n",
        b"".join(b"X-%d: a\r\n" % i for i in range(200)),
        b"Host: second\r\n",
        b"X\x00Y: 1\r\n",
    ],
    ids=[
        "two lengths",
        "length and chunked",
        "chunked twice",
        "signed length",
        "space before colon",
        "unknown coding",
        "oversized header",
        "too many headers",
        "two hosts",
        "NUL in a name",
    ],
)
def test_ambiguous_framing_is_400_and_closes(
    server: GatewayProcess, upstream: str, head: bytes
) -> None:
    wire = b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\n" + AUTH + head + b"\r\nhello"
    with nothing_reaches(upstream), connect(server.url) as sock:
        sock.sendall(wire)
        answer = read_answer(sock)
        assert answer.status == 400
        assert sock.recv(1) == b""


def test_a_request_behind_a_bad_one_is_never_read(server: GatewayProcess, upstream: str) -> None:
    smuggled = b"GET /v1/models HTTP/1.1\r\nHost: g\r\n" + AUTH + b"\r\n"
    wire = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\n"
        + AUTH
        + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        + smuggled
    )
    with nothing_reaches(upstream):
        assert exchange(server.url, wire).status == 400


def test_a_declared_100_mb_body_is_413_before_it_is_sent(server: GatewayProcess) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\n" + AUTH
    started = time.monotonic()
    answer = exchange(server.url, head + b"Content-Length: 104857600\r\n\r\n")
    assert answer.status == 413
    assert time.monotonic() - started < 5


def test_an_undeclared_100_mb_body_is_cut_off(server: GatewayProcess, upstream: str) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\n" + AUTH
    piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with nothing_reaches(upstream), connect(server.url) as sock:
        sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 100:
                sock.sendall(piece)
                sent += 1
        except OSError:
            pass  # it stopped listening: that is the point
        else:
            assert read_answer(sock).status == 413
    assert post(server.url, chat(), key=GOOD_KEY).status == 200


def test_a_compression_bomb_is_413(server: GatewayProcess, upstream: str) -> None:
    bomb = gzip.compress(b" " * 200_000_000, compresslevel=9)
    with nothing_reaches(upstream):
        answer = post(server.url, bomb, key=GOOD_KEY, headers=(("Content-Encoding", "gzip"),))
    assert answer.status == 413


def test_an_unknown_encoding_is_400(server: GatewayProcess, upstream: str) -> None:
    with nothing_reaches(upstream):
        answer = post(server.url, chat(), key=GOOD_KEY, headers=(("Content-Encoding", "lzma"),))
    assert answer.status == 400
    assert answer.json()["error"]["code"] == "unsupported_encoding"


def test_a_compressed_body_is_read_and_sent_on_plain(server: GatewayProcess, upstream: str) -> None:
    packed = gzip.compress(chat(max_tokens=5))
    answer = post(server.url, packed, key=GOOD_KEY, headers=(("Content-Encoding", "gzip"),))
    assert answer.status == 200
    assert answer.json()["usage"]["completion_tokens"] <= 5


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files",
        "/v1/chat/completions/",
        "/v1/chat//completions",
        "/v1/../v1/chat/completions",
        "/v1/chat%2fcompletions",
        "/V1/chat/completions",
        "/v1/chat/completions;x=1",
        "/.hydragate/../v1/models",
        "/metrics",
        "/api/mode",
    ],
)
def test_what_is_not_listed_is_refused(server: GatewayProcess, upstream: str, path: str) -> None:
    with nothing_reaches(upstream):
        answer = post(server.url, chat(), key=GOOD_KEY, path=path)
    assert answer.status == 403
    assert "route_not_listed" in answer.body.decode()


def test_a_websocket_upgrade_is_refused(server: GatewayProcess, upstream: str) -> None:
    wire = (
        b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: g\r\n"
        + AUTH
        + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with nothing_reaches(upstream):
        assert exchange(server.url, wire).status == 403


def test_two_different_keys_are_refused(server: GatewayProcess, upstream: str) -> None:
    with nothing_reaches(upstream):
        answer = post(server.url, chat(), key=GOOD_KEY, headers=(("x-api-key", "sk-other-123456"),))
    assert answer.status == 400


def test_a_made_up_key_is_answered_before_its_body_has_come(server: GatewayProcess) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: 30000000\r\n"
    with connect(server.url) as sock:
        sock.sendall(head + b'Authorization: Bearer sk-made-up-1234\r\n\r\n{"model":')
        answer = read_answer(sock)
    assert (answer.status, answer.json()["error"]["code"]) == (401, "unknown_credential")
    assert answer.headers["x-hydragate-decision"]


def test_slow_heads_do_not_hold_others_up(server: GatewayProcess) -> None:
    """Two hundred connections that send one byte and wait cost nobody else anything."""
    slow = [connect(server.url) for _ in range(200)]
    try:
        for sock in slow:
            sock.sendall(b"P")
        started = time.monotonic()
        assert post(server.url, chat(), key=GOOD_KEY).status == 200
        assert time.monotonic() - started < 5
    finally:
        for sock in slow:
            sock.close()


def test_a_hostile_request_id_is_replaced_and_a_sound_one_kept(server: GatewayProcess) -> None:
    kept = post(server.url, b"{", key=GOOD_KEY, headers=(("X-Request-Id", "my-id-1"),))
    assert kept.headers["x-request-id"] == "my-id-1"
    replaced = post(server.url, b"{", key=GOOD_KEY, headers=(("X-Request-Id", "a b<script>"),))
    assert replaced.headers["x-request-id"].startswith("req_")


def test_nothing_of_a_bad_request_is_echoed(server: GatewayProcess) -> None:
    body = json.dumps({"model": "<script>alert(1)</script>\x01", "messages": []}).encode()
    assert b"script" not in post(server.url, body, key=GOOD_KEY).body


def test_garbage_gets_an_answer_and_the_door(server: GatewayProcess) -> None:
    with connect(server.url) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n")
        assert read_answer(sock).status == 400
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(10) == b""


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_key_in_the_url_is_400_in_the_callers_dialect_and_stays_here(
    server: GatewayProcess, upstream: str, path: str
) -> None:
    """It might be another key than the one that was decided on."""
    with nothing_reaches(upstream):
        answer = post(server.url, chat(max_tokens=3), key=GOOD_KEY, path=f"{path}?key=sk-other")
    assert answer.status == 400
    error = answer.json()["error"]
    assert "header" in error["message"]
    assert b"sk-other" not in answer.body
