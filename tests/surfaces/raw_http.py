"""Bytes on a socket and the answer as it comes: for what no client library would send."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httptools

TIMEOUT_S = 20.0


@dataclass(slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class _Reader:
    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_done = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_done = True


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), TIMEOUT_S)


def read_answer(sock: socket.socket) -> Answer:
    """One answer; a connection that closes in the middle gives what came by then."""
    reader = _Reader()
    while not reader.is_done:
        data = sock.recv(65_536)
        if not data:
            break
        reader.parser.feed_data(data)
    return Answer(reader.parser.get_status_code(), reader.headers, reader.body)


def exchange(url: str, wire: bytes) -> Answer:
    with connect(url) as sock:
        sock.sendall(wire)
        return read_answer(sock)


def post(
    url: str,
    body: bytes,
    *,
    key: str | None,
    path: str = "/v1/chat/completions",
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", f"Content-Length: {len(body)}"]
    lines += [f"Authorization: Bearer {key}"] if key else []
    lines += [f"{name}: {value}" for name, value in headers]
    return exchange(url, "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)


def chat(**fields: Any) -> bytes:
    return json.dumps(
        {"model": "stand-in", "messages": [{"role": "user", "content": "hi"}], **fields}
    ).encode()
