"""What only a data plane can get wrong: streams that break off, gateways and upstreams that are
away, several upstreams, HTTP/2, callers that claim to be the data plane."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.loadtests.processes import standin
from gateway.loadtests.servers.ports import free_port
from tests.stores.test_opening import certify
from tests.surfaces.conftest import GENEROUS, GOOD_KEY, metric, standin_requests
from tests.surfaces.raw_http import chat, connect, post, read_answer
from tests.waiting import wait_for

from .planes import Plane, deciding, decisions, envoy, envoy_before

SLOW = "latency=0,tokens=400,chunk-delay=0.02"


@pytest.fixture(scope="module")
def paced() -> Iterator[str]:
    """A stand-in that keeps its time."""
    with standin("--time-scale", "1") as url:
        yield url


@pytest.fixture(scope="module")
def plane(paced: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("envoy")
    with envoy(folder, paced, policy=GENEROUS, workers=2) as running:
        yield running


def open_stream(url: str, **fields: Any) -> socket.socket:
    body = chat(stream=True, max_tokens=900, **fields)
    sock = connect(url)
    sock.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {GOOD_KEY}\r\n"
        f"x-standin: {SLOW}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return sock


def last_line(plane: Plane, **wanted: Any) -> dict[str, Any] | None:
    lines = [d for d in decisions(plane) if all(d.get(k) == v for k, v in wanted.items())]
    return lines[-1] if lines else None


def test_a_stream_comes_chunk_by_chunk(plane: Plane) -> None:
    with open_stream(plane.url) as sock:
        times: list[float] = []
        began = time.monotonic()
        while len(times) < 5:
            if b"data:" in sock.recv(4096):
                times.append(time.monotonic() - began)
    assert times[-1] - times[0] > 0.03, "five chunks in one go were held back"


def test_who_leaves_a_stream_is_charged_for_what_came(plane: Plane) -> None:
    seen = b""
    with open_stream(plane.url, model="leaver") as sock:
        while seen.count(b"data:") < 20:
            seen += sock.recv(4096)
    line = wait_for(lambda: [d for d in decisions(plane) if "leaver" in json.dumps(d)])[0]
    assert line["outcome"] == "client_left"
    tokens = line["usage"][2]
    assert 15 <= tokens <= 60, "about one token an event"
    assert line["usage"][0] > 0


def test_leaving_frees_the_lease(plane: Plane) -> None:
    with open_stream(plane.url) as sock:
        sock.recv(4096)
        wait_for(lambda: metric(plane.server, "hydragate_pending") >= 1)
    wait_for(lambda: metric(plane.server, "hydragate_pending") == 0)
    assert metric(plane.server, "hydragate_settlements_total", outcome="unknown") == 0


def test_http2_is_decided_and_settled_alike(plane: Plane) -> None:
    curl = shutil.which("curl")
    assert curl is not None, "curl is missing: install it with `apt-get install curl`"
    settled = metric(plane.server, "hydragate_settlements_total", outcome="settled")
    said = subprocess.run(
        [
            *(curl, "-s", "--http2-prior-knowledge", "-w", "\n%{http_version} %{http_code}"),
            *("-H", f"authorization: Bearer {GOOD_KEY}", "-H", "content-type: application/json"),
            *("-d", chat(stream=True, max_tokens=4).decode(), plane.url + "/v1/chat/completions"),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout
    assert said.endswith("\n2 200")
    assert "data: [DONE]" in said
    assert '"choices":[]' not in said
    wait_for(
        lambda: metric(plane.server, "hydragate_settlements_total", outcome="settled") > settled
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_body_of_megabytes_is_asked_about_whole(plane: Plane, stream: bool) -> None:
    """Above a connection's buffer, 1 MiB, Envoy refused by itself, whatever the gateway's bound."""
    large = [{"role": "user", "content": "x" * 6_000_000}]
    headers = (("x-standin", "latency=0,tokens=3"),)
    body = chat(stream=stream, messages=large)
    assert post(plane.url, body, key=GOOD_KEY, headers=headers).status == 200
    wait_for(lambda: len(body) in [one["facts"]["body_bytes"] for one in decisions(plane)])


def test_a_body_over_the_gateways_bound_is_its_413(tmp_path: Path) -> None:
    with (
        standin("--time-scale", "0") as own,
        envoy(tmp_path, own, policy=GENEROUS, body_limit_bytes=2_000_000) as running,
    ):
        inside, over = (
            chat(messages=[{"role": "user", "content": "x" * n}]) for n in (1_990_000, 2_000_000)
        )
        assert post(running.url, inside, key=GOOD_KEY).status == 200
        answer = post(running.url, over, key=GOOD_KEY)
        assert (answer.status, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_a_websocket_upgrade_is_refused(plane: Plane) -> None:
    answer = post(
        plane.url,
        b"",
        key=GOOD_KEY,
        headers=(("upgrade", "websocket"), ("connection", "upgrade")),
        path="/v1/realtime",
    )
    assert answer.status == 403


def test_an_upstream_that_is_away_is_a_502_in_the_callers_dialect(tmp_path: Path) -> None:
    with envoy(tmp_path, f"http://127.0.0.1:{free_port()}", policy=GENEROUS) as running:
        answer = post(running.url, chat(), key=GOOD_KEY)
        assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_unavailable")
        answer = post(running.url, chat(max_tokens=4), key=GOOD_KEY, path="/v1/messages")
        assert (answer.status, answer.json()["error"]["type"]) == (502, "api_error")
        line = wait_for(lambda: last_line(running, outcome="upstream_failed"))
        assert line["usage"] == [None, 0, None]


@pytest.mark.parametrize("is_open", [False, True])
def test_without_a_gateway_the_operator_says_what_happens(
    tmp_path: Path, upstream: str, is_open: bool
) -> None:
    more = {"failure_mode_allow": is_open}
    with (
        deciding(tmp_path, upstream, policy=GENEROUS, envoy=more) as running,
        envoy_before(running.config) as (url, _, _),
    ):
        assert post(url, chat(), key=GOOD_KEY).status == 200
        running.server.stop()
        for path in ("/v1/messages", "/v1/complete"):
            answer = post(url, chat(max_tokens=4), key=GOOD_KEY, path=path)
            assert is_open or answer.json()["type"] == "error", path
        answer = post(url, chat(), key=GOOD_KEY)
        if is_open:
            assert answer.status == 200
        else:
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["error"]["code"] == "gateway_unavailable"


def test_the_gateway_chooses_the_upstream_and_its_key(tmp_path: Path, upstream: str) -> None:
    key = tmp_path / "key"
    key.write_text("sk-of-the-operator")
    key.chmod(0o600)
    with standin("--time-scale", "0") as other:
        upstreams = [
            {"name": "small", "url": other, "models": ["small-*"], "api_key_file": str(key)},
            {"name": "large", "url": upstream, "models": ["large-*"]},
        ]
        with envoy(tmp_path, upstream, policy=GENEROUS, upstreams=upstreams) as running:
            assert post(running.url, chat(model="small-1"), key=GOOD_KEY).status == 200
            assert post(running.url, chat(model="large-1"), key=GOOD_KEY).status == 200
            nowhere = post(running.url, chat(model="other"), key=GOOD_KEY)
            assert (nowhere.status, nowhere.json()["error"]["code"]) == (
                502,
                "upstream_unavailable",
            )
        seen = standin_requests(other)
        assert [json.loads(one["body"])["model"] for one in seen] == ["small-1"]
        names = dict(seen[0]["headers"])
        assert names["authorization"] == "Bearer sk-of-the-operator"
        assert GOOD_KEY not in str(seen)


def test_nothing_of_ours_or_of_the_callers_address_reaches_the_model_api(
    tmp_path: Path,
) -> None:
    claims = (
        ("x-forwarded-for", "203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
        ("proxy-authorization", "secret"),
        ("x-hydragate-anything", "x"),
        ("x-envoy-retry-on", "5xx"),
        ("x-kept", "yes"),
    )
    with standin("--time-scale", "0") as own, envoy(tmp_path, own, policy=GENEROUS) as running:
        assert post(running.url, chat(), key=GOOD_KEY, headers=claims).status == 200
        names = {name for name, _ in standin_requests(own)[0]["headers"]}
        line = wait_for(lambda: last_line(running, outcome="complete"))
    assert "x-kept" in names
    assert not [
        n for n in names if n.startswith(("x-forwarded", "x-hydragate", "x-envoy", "proxy"))
    ]
    assert "x-real-ip" not in names
    assert line["verdict"] == "allow"


def test_over_tls_the_hello_is_fingerprinted_and_a_claimed_one_is_not_believed(
    tmp_path: Path, upstream: str
) -> None:
    certify(tmp_path)
    tls = {"tls_cert": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}
    claimed = "t13d1516h2_8daaf6152771_02713d6af862"
    with envoy(tmp_path, upstream, policy=GENEROUS, envoy=tls) as running:
        context = ssl.create_default_context(cafile=tls["tls_cert"])
        body = chat()
        port = int(running.url.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port), 20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
        ):
            sock.sendall(
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {GOOD_KEY}"
                f"\r\nx-hydragate-ja4: {claimed}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            assert read_answer(sock).status == 200
        line = wait_for(lambda: last_line(running, outcome="complete"))
    ja4 = line["facts"]["ja4"]
    assert ja4 is not None
    assert ja4 != claimed
    assert ja4.startswith("t1")
