"""Behind an edge: whose address and whose name are believed, and slow senders."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.loadtests.processes import GatewayProcess, gateway

from .conftest import GOOD_KEY, ask_admin, standin_requests, write_accounts, write_policy
from .raw_http import chat, connect, post, read_answer

POLICY = """
version: 1
name: edge
mode: enforce
unknown_credentials: refuse
on_store_error: deny
limits:
  - name: network-requests
    why: narrow, so that a test sees whose address counts
    by: client_network
    quota: 3/hour
    burst: 3
    cost: requests
    on_store_error: allow
"""


@pytest.fixture(scope="module")
def edge(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Loopback is the trusted edge, which may name accounts in x-account."""
    folder = tmp_path_factory.mktemp("edge")
    config = folder / "config.yaml"
    config.write_text(
        "trusted_proxies: [127.0.0.0/8]\n"
        "identity_header: {name: x-account, networks: [127.0.0.0/8]}\n"
        "body_timeout_s: 0.5\n"
        f"upstreams: [{{url: '{upstream}'}}]\n"
    )
    policy = write_policy(folder / "policy", POLICY)
    accounts = write_accounts(folder / "accounts.jsonl")
    with gateway(
        folder / "data",
        *("--config", str(config), "--policy", str(policy), "--accounts", str(accounts)),
    ) as running:
        yield running


def from_address(server: GatewayProcess, chain: str) -> int:
    return post(server.url, chat(), key=GOOD_KEY, headers=(("X-Forwarded-For", chain),)).status


def test_the_address_that_the_edge_vouches_for_counts(edge: GatewayProcess) -> None:
    first = [from_address(edge, "198.51.100.1") for _ in range(4)]
    assert first == [200, 200, 200, 429]
    assert from_address(edge, "198.51.100.2") == 200


def test_what_stands_left_of_it_is_a_claim_and_changes_nothing(edge: GatewayProcess) -> None:
    statuses = [from_address(edge, f"10.{n}.0.1, 198.51.100.9") for n in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_the_edge_may_name_the_account_and_its_header_goes_no_further(
    edge: GatewayProcess, upstream: str
) -> None:
    headers = (("X-Account", "acc_good"), ("X-Forwarded-For", "198.51.100.20"))
    assert post(edge.url, chat(user="named"), key=None, headers=headers).status == 200
    seen = [r for r in standin_requests(upstream) if '"named"' in r["body"]][-1]
    assert "x-account" not in dict(seen["headers"])
    unknown = (("X-Account", "acc_nobody"), ("X-Forwarded-For", "198.51.100.20"))
    assert post(edge.url, chat(), key=None, headers=unknown).status == 401


def test_where_no_edge_is_trusted_the_name_means_nothing(server: GatewayProcess) -> None:
    answer = post(server.url, chat(), key=None, headers=(("X-Account", "acc_good"),))
    assert answer.status == 401


def test_a_banned_account_is_banned_under_its_name_too(edge: GatewayProcess) -> None:
    headers = (("X-Account", "acc_banned"), ("X-Forwarded-For", "198.51.100.30"))
    assert post(edge.url, chat(), key=None, headers=headers).status == 403


def test_an_account_made_by_the_admin_api_can_be_named(edge: GatewayProcess) -> None:
    record = {"account_id": "acc_late", "tier": "start"}
    assert ask_admin(edge, "PUT", "/api/accounts/acc_late", record)[0] == 200
    headers = (("X-Account", "acc_late"), ("X-Forwarded-For", "198.51.100.31"))
    assert post(edge.url, chat(), key=None, headers=headers).status == 200


def test_a_body_that_trickles_is_400_in_time(edge: GatewayProcess) -> None:
    with connect(edge.url) as sock:
        started = time.monotonic()
        sock.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {GOOD_KEY}"
            "\r\nContent-Length: 500\r\n\r\n{".encode()
        )
        answer = read_answer(sock)
    assert answer.status == 400
    assert answer.json()["error"]["code"] == "body_too_slow"
    assert time.monotonic() - started < 5


def test_a_compressed_body_counts_at_its_true_size(upstream: str, tmp_path: Path) -> None:
    """Five slow calls of 8 MiB that travelled as 8 KiB fill a bound of 32 MiB."""
    config = tmp_path / "config.yaml"
    config.write_text(f"buffered_limit_bytes: 33554432\nupstreams: [{{url: '{upstream}'}}]\n")
    packed = gzip.compress(chat(padding="x" * (8 << 20)))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {GOOD_KEY}\r\n"
        f"Content-Encoding: gzip\r\nx-standin: latency=5\r\nContent-Length: {len(packed)}\r\n\r\n"
    ).encode()
    with ExitStack() as stack:
        server = stack.enter_context(
            gateway(
                tmp_path / "data",
                *("--config", str(config), "--policy", str(write_policy(tmp_path / "policy"))),
                *("--accounts", str(write_accounts(tmp_path / "accounts.jsonl"))),
            )
        )
        for _ in range(3):
            stack.enter_context(connect(server.url)).sendall(head + packed)
        threading.Event().wait(1.5)
        fourth = stack.enter_context(connect(server.url))
        fourth.sendall(head + packed)
        fifth = stack.enter_context(connect(server.url))
        fifth.sendall(head + packed)
        assert read_answer(fifth).status == 429


def test_admin_calls_need_the_token(edge: GatewayProcess, tmp_path: Path) -> None:
    import urllib.error
    import urllib.request

    for path in ("/api/accounts", "/api/mode", "/api/status", "/api/decisions/x"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(edge.admin + path, timeout=5)
        with caught.value as error:
            assert error.code == 401
