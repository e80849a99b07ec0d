"""More clients than may: those who are served stay, and the operator sees it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from gateway.loadtests.processes import GatewayProcess

from .conftest import GOOD_KEY, metric, write_accounts, write_policy
from .raw_http import chat, connect, post, read_answer

BODY = chat()
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n"
    b"Authorization: Bearer " + GOOD_KEY.encode() + b"\r\n\r\n"
) % len(BODY)
SHED = "hydragate_client_connections_shed_total"


def test_beyond_the_bound_new_clients_are_told_to_come_again(tmp_path: Path, upstream: str) -> None:
    policy = write_policy(tmp_path / "policy")
    accounts = write_accounts(tmp_path / "accounts.jsonl")
    config = tmp_path / "config.yaml"
    config.write_text("max_client_connections: 2\n")
    options = ("--config", str(config), "--upstream", upstream, "--policy", str(policy))
    with ExitStack() as stack:
        server = GatewayProcess(tmp_path / "data", *options, "--accounts", str(accounts))
        stack.callback(server.stop)
        served = [stack.enter_context(connect(server.url)) for _ in range(2)]
        for sock in served:
            sock.sendall(HEAD + BODY[:10])
        while metric(server, "hydragate_inflight") < 2:
            pass
        for _ in range(2):
            busy = post(server.url, BODY, key=GOOD_KEY)
            assert (busy.status, busy.headers["retry-after"]) == (429, "1")
            assert busy.json()["code"] == "gateway_busy"
        while metric(server, SHED, outcome="refused") < 2:
            pass
        assert metric(server, "hydragate_client_connections") == 2
        assert metric(server, SHED, outcome="gave_way") == 0
        for sock in served:
            sock.sendall(BODY[10:])
            assert read_answer(sock).status == 200
        # Both are kept alive now and wait: one gives way, once it is looked for again.
        while post(server.url, BODY, key=GOOD_KEY).status != 200:
            pass
        while metric(server, SHED, outcome="gave_way") < 1:
            pass
