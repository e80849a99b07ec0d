"""A real HTTP receiver of news, as a platform's directory would run one."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = b"the directory's own secret"


class Inbox:
    """`told` is everything it was told, repeats too; while `is_down` it answers 503, and 400 to
    news of an account that it `refuses`."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.forged = 0
        self.is_down = False
        self.refuses = ""
        self.url = ""

    def of(self, account_id: str) -> dict[str, dict[str, Any]]:
        """By id, as a receiver that drops repeats would have it."""
        return {news["id"]: news for news in self.told if news["account_id"] == account_id}

    def take(self, headers: Any, body: bytes) -> int:
        signed = f"{headers['hydragate-timestamp']}.".encode() + body
        wanted = "v1=" + hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
        if headers["hydragate-signature"] != wanted:
            self.forged += 1
            return 401
        if self.is_down:
            return 503
        news = json.loads(body)
        if news["account_id"] == self.refuses:
            return 400
        self.told.append(news)
        return 204


@contextmanager
def inbox() -> Iterator[Inbox]:
    box = Inbox()

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(box.take(self.headers, body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taker) as server:
        box.url = f"http://127.0.0.1:{server.server_port}/news"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()
