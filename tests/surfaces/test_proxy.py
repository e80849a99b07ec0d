"""The reverse proxy between a real client and the stand-in."""

from __future__ import annotations

import json
import signal
import socket
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gateway.loadtests.processes import GatewayProcess, gateway, standin
from gateway.observe.log_reader import read_decisions
from tests.waiting import wait_until

from .conftest import (
    GOOD_KEY,
    ask_admin,
    metric,
    standin_requests,
    standin_stats,
    write_accounts,
    write_policy,
)
from .raw_http import chat, connect, post, read_answer

AUTH = f"Authorization: Bearer {GOOD_KEY}\r\n".encode()


def stream(server: GatewayProcess, controls: str = "", **fields: object) -> socket.socket:
    """A streaming chat call whose answer has not been read yet."""
    body = chat(stream=True, **fields)
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\n"
        + AUTH
        + f"x-standin: {controls}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    sock = connect(server.url)
    sock.sendall(head + body)
    return sock


def test_the_upstream_gets_what_was_sent_and_nothing_of_ours(
    server: GatewayProcess, upstream: str
) -> None:
    body = chat(temperature=0.25, user="u-1")
    post(
        server.url,
        body,
        key=GOOD_KEY,
        headers=(
            ("X-Forwarded-For", "198.51.100.7"),
            ("X-Hydragate-Trick", "1"),
            ("X-Drop", "1"),
            ("TE", "trailers"),
            ("OpenAI-Beta", "kept"),
        ),
    )
    seen = standin_requests(upstream)[-1]
    headers: dict[str, str] = dict(seen["headers"])
    assert json.loads(seen["body"]) == json.loads(body)
    assert headers["openai-beta"] == "kept"
    assert headers["accept-encoding"] == "identity"
    assert headers["authorization"] == f"Bearer {GOOD_KEY}"
    assert headers["content-length"] == str(len(body))
    assert not {"x-forwarded-for", "x-hydragate-trick", "te", "connection"} & headers.keys()


def test_head_has_the_headers_of_get_and_no_body(server: GatewayProcess) -> None:
    wire = b"HEAD /v1/models HTTP/1.1\r\nHost: g\r\n" + AUTH + b"Connection: close\r\n\r\n"
    with connect(server.url) as sock:
        sock.sendall(wire)
        raw = b""
        while data := sock.recv(65_536):
            raw += data
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-length:" in head.lower()
    assert body == b""


def test_requests_on_one_connection_are_answered_in_order(server: GatewayProcess) -> None:
    wire = b"GET /v1/models/%b HTTP/1.1\r\nHost: g\r\n" + AUTH + b"\r\n"
    names = [b"stand-in", b"stand-in-mini", b"stand-in-large"]
    with connect(server.url) as sock:
        for name in names:
            sock.sendall(wire % name)
            assert read_answer(sock).json()["id"] == name.decode()


def test_the_first_chunk_of_a_stream_does_not_wait_for_the_last(server: GatewayProcess) -> None:
    started = time.monotonic()
    with stream(server, "latency=0,tokens=40,chunk-delay=0.1") as sock:
        first = b""
        while b"data:" not in first:
            first += sock.recv(65_536)
        first_s = time.monotonic() - started
        answer = read_rest(sock, first)
    assert first_s < 1.5
    assert time.monotonic() - started > 3.5
    assert b"[DONE]" in answer


def test_usage_is_asked_for_and_taken_out_again(server: GatewayProcess, upstream: str) -> None:
    with stream(server, "latency=0,tokens=7", user="strip-me") as sock:
        answer = read_rest(sock)
    assert b'"choices":[]' not in answer
    sent = [r for r in standin_requests(upstream) if '"strip-me"' in r["body"]][-1]
    assert json.loads(sent["body"])["stream_options"] == {"include_usage": True}


def test_a_client_that_leaves_cancels_the_upstream_call_at_once(
    server: GatewayProcess, upstream: str
) -> None:
    before = standin_stats(upstream)["cancelled"]
    left = metric(server, "hydragate_exchanges_total", outcome="client_left")
    sock = stream(server, "latency=0,tokens=500,chunk-delay=0.2")
    sock.recv(1024)
    sock.close()
    assert wait_until(lambda: standin_stats(upstream)["cancelled"] == before + 1, 3)
    assert wait_until(
        lambda: metric(server, "hydragate_exchanges_total", outcome="client_left") == left + 1
    )


def test_a_client_that_leaves_before_the_answer_begins_cancels_too(
    server: GatewayProcess, upstream: str
) -> None:
    before = standin_stats(upstream)["cancelled"]
    sock = stream(server, "latency=30")
    assert wait_until(lambda: standin_stats(upstream)["inflight"] >= 2)  # it, and this question
    sock.close()
    assert wait_until(lambda: standin_stats(upstream)["cancelled"] == before + 1, 3)


def test_a_client_that_leaves_before_the_answer_begins_is_charged_for_what_it_sent(
    server: GatewayProcess, upstream: str
) -> None:
    def charged() -> float:
        return metric(server, "hydragate_tokens_total", direction="input")

    before, inflight = charged(), standin_stats(upstream)["inflight"]
    sock = stream(server, "latency=30", messages=[{"role": "user", "content": "a word " * 2000}])
    assert wait_until(lambda: standin_stats(upstream)["inflight"] > inflight)
    sock.close()
    assert wait_until(lambda: charged() - before > 1000)


def test_a_client_that_leaves_at_once_costs_the_upstream_nothing(
    server: GatewayProcess, upstream: str
) -> None:
    """Gone before the decision: the call is not made, or cut off at once."""
    for _ in range(20):
        stream(server, "latency=30").close()
    assert wait_until(lambda: standin_stats(upstream)["inflight"] == 1, 5)  # this question


def test_who_leaves_early_is_charged_for_what_it_got(server: GatewayProcess) -> None:
    before = metric(server, "hydragate_tokens_total", direction="output")
    sock = stream(server, "latency=0,tokens=500,chunk-delay=0.05")
    got = b""
    while got.count(b"data:") < 20:
        got += sock.recv(4096)
    sock.close()

    def charged() -> float:
        return metric(server, "hydragate_tokens_total", direction="output") - before

    assert wait_until(lambda: charged() > 0)
    assert 10 <= charged() <= 100


@pytest.mark.parametrize("status", [400, 404, 429, 500, 529])
def test_the_upstreams_own_errors_are_passed_on_and_told_apart(
    server: GatewayProcess, status: int
) -> None:
    controls = (("x-standin", f"status={status},retry-after=7"),)
    answer = post(server.url, chat(), key=GOOD_KEY, headers=controls)
    assert answer.status == status
    assert "stand-in says" in answer.json()["error"]["message"]
    assert answer.headers["retry-after"] == "7"
    assert "x-hydragate-decision" not in answer.headers
    label = {429: "429", 529: "529"}.get(status, f"{status // 100}xx")
    name = "hydragate_upstream_seconds_count"
    assert wait_until(lambda: metric(server, name, status_class=label) >= 1)


def test_an_upstream_that_breaks_off_shows_as_broken_off(server: GatewayProcess) -> None:
    with stream(server, "latency=0,tokens=50,chunk-delay=0.01,reset-after=5") as sock:
        answer = read_rest(sock)
    assert b"data:" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    name = "hydragate_exchanges_total"
    assert wait_until(lambda: metric(server, name, outcome="upstream_failed") >= 1)


def test_a_compressed_answer_is_passed_on_as_it_is(server: GatewayProcess) -> None:
    answer = post(server.url, chat(), key=GOOD_KEY, headers=(("x-standin", "gzip,latency=0"),))
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.body[:2] == b"\x1f\x8b"


def test_a_large_answer_passes_whole(server: GatewayProcess) -> None:
    answer = post(server.url, chat(), key=GOOD_KEY, headers=(("x-standin", "big=5000000"),))
    assert len(answer.json()["padding"]) == 5_000_000


def test_expect_100_continue_is_answered(server: GatewayProcess) -> None:
    body = chat()
    with connect(server.url) as sock:
        sock.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\n"
            + AUTH
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
        )
        assert sock.recv(1024).startswith(b"HTTP/1.1 100 Continue")
        sock.sendall(body)
        assert read_answer(sock).status == 200


def test_an_upstream_that_refuses_is_502_and_one_that_stalls_504(
    tmp_path: Path,
) -> None:
    with socket.socket() as unused, socket.socket() as deaf:
        unused.bind(("127.0.0.1", 0))
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(8)
        config = tmp_path / "config.yaml"
        config.write_text(
            "upstreams:\n"
            f"  - {{name: gone, url: 'http://127.0.0.1:{unused.getsockname()[1]}',"
            " models: ['gone-*']}\n"
            f"  - {{name: deaf, url: 'http://127.0.0.1:{deaf.getsockname()[1]}',"
            " models: ['deaf'], header_timeout_s: 0.5}\n"
        )
        with small_gateway(tmp_path, "--config", str(config)) as running:
            refused = post(running.url, chat(model="gone-1"), key=GOOD_KEY)
            stalled = post(running.url, chat(model="deaf"), key=GOOD_KEY)
            nowhere = post(running.url, chat(model="else"), key=GOOD_KEY)
    assert (refused.status, stalled.status, nowhere.status) == (502, 504, 502)
    assert refused.json()["error"]["code"] == "upstream_unavailable"


def test_an_upstream_that_stalls_in_mid_stream_is_cut_charged_logged_and_left(
    upstream: str, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"upstreams: [{{url: '{upstream}', read_timeout_s: 0.5}}]\n")
    cancelled = standin_stats(upstream)["cancelled"]
    with small_gateway(tmp_path, "--config", str(config)) as running:
        one_at_once = {"quotas": {"account-concurrency": "1 at once"}}
        assert ask_admin(running, "PATCH", "/api/accounts/acc_good", one_at_once)[0] == 200
        started = time.monotonic()
        with stream(running, "latency=0,tokens=200,chunk-delay=0.01,stall-after=12") as sock:
            answer = read_rest(sock)
        assert 0.5 <= time.monotonic() - started < 5
        assert answer.count(b"data:") == 12
        assert not answer.endswith(b"0\r\n\r\n")  # no client takes it for whole
        assert b"[DONE]" not in answer
        assert standin_stats(upstream)["cancelled"] == cancelled + 1
        assert wait_until(lambda: any(True for _ in read_decisions(tmp_path / "data" / "log")))
        assert post(running.url, chat(), key=GOOD_KEY).status == 200  # its lease is free again
        spent = metric(running, "hydragate_tokens_total", direction="output")
    stalled = min(read_decisions(tmp_path / "data" / "log"), key=lambda line: line["ts_us"])
    assert (stalled["verdict"], stalled["outcome"]) == ("allow", "upstream_failed")
    assert stalled["upstream_status"] == 200
    assert 6 <= stalled["usage"][2] <= 50  # what twelve chunks hold, not the 200 to come
    assert spent >= stalled["usage"][2]


def test_models_and_paths_choose_the_upstream(tmp_path: Path) -> None:
    with standin("--time-scale", "0") as first, standin("--time-scale", "0") as second:
        config = tmp_path / "config.yaml"
        config.write_text(
            "upstreams:\n"
            f"  - {{name: a, url: '{first}', models: ['alpha-*']}}\n"
            f"  - {{name: b, url: '{second}'}}\n"
        )
        with small_gateway(tmp_path, "--config", str(config)) as running:
            post(running.url, chat(model="alpha-1"), key=GOOD_KEY)
            post(running.url, chat(model="beta-1"), key=GOOD_KEY)
            assert standin_stats(first)["requests"] == 2  # the call, and this question
            models = [json.loads(r["body"])["model"] for r in standin_requests(second)]
    assert models == ["beta-1"]


def test_the_operators_key_replaces_the_callers(tmp_path: Path, upstream: str) -> None:
    key_file = tmp_path / "upstream-key"
    key_file.write_text("sk-operator-1\n")
    key_file.chmod(0o600)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"upstreams:\n  - {{name: a, url: '{upstream}', api_key_file: '{key_file}'}}\n"
    )
    with small_gateway(tmp_path, "--config", str(config)) as running:
        assert post(running.url, chat(user="keyed"), key=GOOD_KEY).status == 200
        assert post(running.url, chat(), key="sk-made-up-1234").status == 401
    seen = [r for r in standin_requests(upstream) if '"keyed"' in r["body"]][-1]
    credentials = [value for name, value in seen["headers"] if name == "authorization"]
    assert credentials == ["Bearer sk-operator-1"]


def test_sigterm_lets_streams_finish_and_takes_no_new_requests(
    tmp_path: Path, upstream: str
) -> None:
    with small_gateway(tmp_path, "--upstream", upstream) as running:
        with stream(running, "latency=0,tokens=20,chunk-delay=0.1") as sock:
            sock.recv(512)
            running.process.send_signal(signal.SIGTERM)
            assert wait_until(lambda: not accepts(running))
            answer = read_rest(sock)
        assert b"[DONE]" in answer
        assert running.process.wait(20) == 0


def test_a_drain_ends_at_its_deadline(tmp_path: Path, upstream: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"drain_s: 1\nupstreams: [{{url: '{upstream}'}}]\n")
    with (
        small_gateway(tmp_path, "--config", str(config)) as running,
        stream(running, "latency=0,tokens=500,chunk-delay=0.5") as sock,
    ):
        sock.recv(512)
        started = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
    assert time.monotonic() - started < 10
    said = "".join(running.output)
    assert "Cancel 1 running task(s)" in said
    assert "Traceback" not in said  # a cut stream is no fault to look for


def accepts(server: GatewayProcess) -> bool:
    try:
        with connect(server.url):
            return True
    except OSError:
        return False


def small_gateway(folder: Path, *options: str) -> AbstractContextManager[GatewayProcess]:
    policy = write_policy(folder / "policy")
    accounts = write_accounts(folder / "accounts.jsonl")
    return gateway(folder / "data", "--policy", str(policy), "--accounts", str(accounts), *options)


def read_rest(sock: socket.socket, first: bytes = b"") -> bytes:
    """Until the chunked answer ends or the connection does."""
    raw = first
    while not raw.endswith(b"0\r\n\r\n"):
        try:
            data = sock.recv(65_536)
        except ConnectionResetError:
            break
        if not data:
            break
        raw += data
    return raw
