"""The admin port from outside: without the token nothing is told, done or even read."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI, Request

from gateway.console.operators import OperatorsOnly
from gateway.loadtests.processes import GatewayProcess

from .conftest import ask_admin
from .raw_http import connect, read_answer

TOKEN = "0123456789abcdef0123456789abcdef"
CLOSED = (
    ("GET", "/api/accounts"),
    ("POST", "/api/accounts/import?whole=true"),
    ("PUT", "/api/accounts/acc_good"),
    ("PATCH", "/api/accounts/acc_good"),
    ("DELETE", "/api/accounts/acc_good"),
    ("POST", "/api/accounts/acc_good/unban"),
    ("PUT", "/api/mode"),
    ("GET", "/api/status"),
    ("POST", "/api/policy/reload"),
    ("GET", "/api/decisions/x"),
    ("GET", "/api/clusters"),
    ("POST", "/api/clusters/pin"),
    ("POST", "/api/clusters/decisions"),
    ("GET", "/api/linker"),
    ("POST", "/api/linker/undo"),
    ("POST", "/api/verifications/grant"),
    ("HEAD", "/api/accounts"),
    ("OPTIONS", "/api/accounts"),
    ("GET", "/api"),
    ("GET", "/healthz/../api/accounts"),
    ("GET", "//api/accounts"),
    ("GET", "/openapi.json"),
)


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_without_the_token_no_body_is_waited_for(
    server: GatewayProcess, method: str, path: str
) -> None:
    """It used to be read whole, into memory, before anybody asked for the token."""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    rest = "\r\n" if method in ("GET", "HEAD") else "Content-Length: 4000000000\r\n\r\n{"
    with connect(server.admin) as sock:
        sock.settimeout(5)
        sock.sendall(f"{head}Authorization: Bearer \r\n{rest}".encode())
        assert sock.recv(65_536).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "given", ["", "Basic {0}", "Bearer", "Bearer {0}x", "Bearer {0}\r\nAuthorization: Bearer x"]
)
def test_only_the_one_token_opens(server: GatewayProcess, given: str) -> None:
    lines = f"Authorization: {given.format(server.token)}\r\n" if given else ""
    with connect(server.admin) as sock:
        sock.sendall(f"GET /api/mode HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        assert read_answer(sock).status == 401


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/linker/undo", {"since_us": 10**30}),
        ("/api/clusters/pin", {"account_id": "\ud800"}),
        ("/api/clusters/decisions", {"decisions": [{"at_us": 10**30}]}),
        ("/api/clusters/decisions", {"decisions": [{"decision": "\ud800"}]}),
    ],
)
def test_what_cannot_be_stored_as_it_was_sent_is_the_callers_mistake(
    server: GatewayProcess, path: str, fields: dict[str, object]
) -> None:
    """These were answered with a 500 and a traceback in the log."""
    assert ask_admin(server, "POST", path, {"by": "a", "reason": "b", **fields})[0] == 422


@pytest.mark.parametrize(("size", "status"), [(10, 200), (11, 413)])
async def test_an_operators_body_has_a_bound(size: int, status: int) -> None:
    app = FastAPI()
    app.add_middleware(OperatorsOnly, token=TOKEN, most_bytes=10)

    @app.put("/api/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://admin"
    ) as client:
        headers = {"authorization": f"bearer {TOKEN}"}
        answer = await client.put("/api/length", content=b"x" * size, headers=headers)
    assert answer.status_code == status
