"""What only nginx's way of asking can get wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.loadtests.processes import standin
from tests.ports import free_port
from tests.surfaces.conftest import BANNED_KEY, GENEROUS, GOOD_KEY, metric
from tests.surfaces.raw_http import chat, connect, post
from tests.waiting import wait_for

from .planes import Plane, deciding, decisions, nginx, nginx_before


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("nginx")
    with (
        standin("--time-scale", "1") as paced,
        nginx(folder, paced, policy=GENEROUS, workers=2) as running,
    ):
        yield running


def test_a_caller_cannot_write_its_own_refusal(plane: Plane) -> None:
    forged = (("x-hydragate-answer", "AAAA"), ("x-hydragate-peer", "203.0.113.9"))
    answer = post(plane.url, chat(), key=BANNED_KEY, headers=forged)
    assert (answer.status, answer.json()["error"]["code"]) == (403, "access_denied")


@pytest.mark.parametrize("path", ["/.hydragate/auth_request", "/.hydragate/refusal"])
def test_the_check_cannot_be_called_from_outside(plane: Plane, path: str) -> None:
    assert post(plane.url, b"", key=GOOD_KEY, path=path).status in (403, 404)


def test_a_stream_comes_chunk_by_chunk_and_leaving_frees_the_lease(plane: Plane) -> None:
    body = chat(stream=True, max_tokens=900)
    with connect(plane.url) as sock:
        sock.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {GOOD_KEY}\r\n"
            "x-standin: latency=0,tokens=400,chunk-delay=0.02\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        times: list[float] = []
        began = time.monotonic()
        while len(times) < 5:
            if b"data:" in sock.recv(4096):
                times.append(time.monotonic() - began)
        wait_for(lambda: metric(plane.server, "hydragate_pending") >= 1)
    assert times[-1] - times[0] > 0.03
    wait_for(lambda: metric(plane.server, "hydragate_pending") == 0)
    wait_for(lambda: [d for d in decisions(plane) if d["outcome"] == "client_left"])


def test_an_upstream_that_is_away_is_a_502_in_the_callers_dialect(tmp_path: Any) -> None:
    with nginx(tmp_path, f"http://127.0.0.1:{free_port()}", policy=GENEROUS) as running:
        answer = post(running.url, chat(), key=GOOD_KEY)
        assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_unavailable")
        answer = post(running.url, chat(max_tokens=4), key=GOOD_KEY, path="/v1/messages")
        assert (answer.status, answer.json()["error"]["type"]) == (502, "api_error")
        wait_for(lambda: [d for d in decisions(running) if d["outcome"] == "upstream_failed"])


@pytest.mark.parametrize("is_open", [False, True])
def test_without_a_gateway_the_operator_says_what_happens(
    tmp_path: Any, upstream: str, is_open: bool
) -> None:
    edit = (("error_page 500 = @undecided", "error_page 500 = @unseen"),) if is_open else ()
    with (
        deciding(tmp_path, upstream, policy=GENEROUS) as running,
        nginx_before(running.config, upstream, edit=edit) as (url, _),
    ):
        assert post(url, chat(), key=GOOD_KEY).status == 200
        running.server.stop()
        answer = post(url, chat(), key=GOOD_KEY)
        if is_open:
            assert answer.status == 200
        else:
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["error"]["code"] == "gateway_unavailable"
