"""A decision of the log, decided again, is the decision that was made: on both surfaces, with a
real store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from gateway.adapters.guard import Guard
from gateway.app import SystemClock
from gateway.cli import main
from gateway.core.keyed import KeyedHash
from gateway.engine import Engine
from gateway.loadtests.processes import gateway
from gateway.loadtests.servers.valkey import Server
from gateway.model import Grant, Level, Status, Subject
from gateway.observe.decision_log import DecisionLog
from gateway.observe.ids import DecisionIds
from gateway.observe.log_reader import read_decisions
from gateway.policy.load import PolicyHolder
from gateway.settings import LogConfig
from gateway.stores import open_store

from .conftest import write_accounts, write_policy
from .raw_http import post

SECRET = b"the secret of a recorded session"
KEYS = {name: f"sk-{name}-0123456789" for name in ("plain", "tight", "young", "banned", "org")}
POLICY = """
version: 1
name: recorded
mode: enforce
unknown_credentials: adopt
on_store_error: deny
limits:
  - {name: account-requests, why: "tight for one", by: account, quota: 600/min, burst: 100,
     on_store_error: allow}
  - {name: account-tokens, why: "with settlement", by: account, quota: 1M/min,
     cost: total_tokens, on_store_error: allow}
  - {name: key-requests, why: "a key of a hash", by: key, quota: 500/min, on_store_error: allow}
  - {name: org-requests, why: "only some have one", by: org, quota: 3/min, on_store_error: allow}
  - {name: parallel, why: "leases as well", by: account, quota: 50 at once, cost: concurrency,
     on_store_error: allow}
  - {name: shadowed-requests, why: "never blocks", mode: shadow, by: account, quota: 2/min,
     on_store_error: allow}
rules:
  - name: premium-before-phone
    why: asks for a verification
    when: {model: {in: [premium-1]}, verification: {below: phone}}
    on_unknown: no_match
    then: {verify: phone}
  - name: long-answers
    why: refuses by a fact of the body
    when: {max_output_tokens: {gte: 9000}}
    on_unknown: no_match
    then: {deny: {}}
  - name: slow-down
    why: a wait of its own
    when: {message_count: {gte: 3}}
    on_unknown: no_match
    then: {throttle: 2s}
  - name: busy-day
    why: what the account did before
    when: {requests_24h: {gte: 4}, model: {in: [scarce]}}
    on_unknown: no_match
    then: {deny: {}}
  - name: one-account
    why: names an account, which the log does not
    when: {model: {in: [special]}, account_id: {in: [acc_plain]}}
    on_unknown: no_match
    then: {deny: {}}
  - name: shadowed-rule
    why: only looks
    mode: shadow
    when: {stream: true}
    on_unknown: no_match
    then: {deny: {}}
"""
Send = Callable[[str, str, bytes], Awaitable[int]]
"""(key, path, body) → status."""


def bodies() -> list[tuple[str, str, bytes]]:
    """Every kind of decision, some of them twice."""
    asked: list[tuple[str, str, bytes]] = []
    messages = [{"role": "user", "content": "hello"}]
    path = "/v1/chat/completions"

    def ask(key: str, **more: Any) -> None:
        asked.append((KEYS.get(key, key), path, json.dumps({"messages": messages} | more).encode()))

    for n in range(6):
        ask("plain", model="m", max_tokens=50 + n)
        ask("tight", model="m")
        ask("org", model="m")
    ask("young", model="premium-1")
    ask("plain", model="premium-1")
    ask("plain", model="m", max_tokens=9_500)
    ask("plain", model="m", messages=messages * 3)
    ask("young", model="m", stream=True)
    for key in ("plain", "young"):
        ask(key, model="scarce")
    ask("plain", model="special")
    ask("banned", model="m")
    ask("sk-stranger-000000", model="m")
    ask("", model="m")
    asked.append((KEYS["plain"], path, b'{"model": "m", "model": "n"}'))
    asked.append((KEYS["plain"], path, b"{nonsense"))
    asked.append((KEYS["plain"], "/v1/files", b""))
    asked.append((KEYS["plain"], "/v1/messages", b'{"model":"m","messages":[],"max_tokens":5}'))
    return asked


ACCOUNTS: list[dict[str, Any]] = [
    {"account_id": "acc_plain", "keys": [KEYS["plain"]], "verification": ["phone"]},
    {"account_id": "acc_tight", "keys": [KEYS["tight"]], "quotas": {"account-requests": "2/min"}},
    {"account_id": "acc_young", "keys": [KEYS["young"]], "created_at": 1_776_000_000},
    {"account_id": "acc_banned", "keys": [KEYS["banned"]], "status": "banned"},
    {"account_id": "acc_org", "keys": [KEYS["org"]], "org_id": "org_1"},
]


async def record_proxy(folder: Path, policy: Path, upstream: str) -> Path:
    """The session through a gateway process with its embedded store."""
    accounts = write_accounts(folder / "accounts.jsonl", ACCOUNTS)
    data = folder / "data"

    def session() -> None:
        with gateway(
            data, *("--upstream", upstream, "--policy", str(policy), "--accounts", str(accounts))
        ) as running:
            for key, path, body in bodies():
                post(running.url, body, key=key or None, path=path)

    await asyncio.to_thread(session)
    return data / "log"


async def fill(url: str) -> None:
    keyed = KeyedHash(SECRET)
    subjects = {
        "plain": Subject("acc_plain", grants=(Grant(Level.PHONE, 1_000_000),)),
        "tight": Subject("acc_tight", quotas={"account-requests": "2/min"}),
        "young": Subject("acc_young", created_us=1_776_000_000_000_000),
        "banned": Subject("acc_banned", status=Status.BANNED),
        "org": Subject("acc_org", org_id="org_1"),
    }
    store = await open_store(url, secret_fingerprint=keyed.fingerprint(), timeout_s=1.0)
    for name, subject in subjects.items():
        await store.put(subject, {keyed.credential(KEYS[name].encode()): "k"})
    await store.aclose()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Somebody's own model API: answers with its usage."""
    usage = {"prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42}
    body = json.dumps({"choices": [], "usage": usage}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def record_middleware(folder: Path, policy: Path, store: Server) -> Path:
    """The session through the guard as middleware on a Valkey of its own."""
    await fill(store.url)
    keyed, policies = KeyedHash(SECRET), PolicyHolder(policy)
    log = DecisionLog(folder, worker=1, policies=policies, keyed=keyed, rotation=LogConfig())
    opened = await open_store(store.url, secret_fingerprint=keyed.fingerprint(), timeout_s=1.0)
    engine = Engine(
        store=opened,
        policies=policies,
        clock=SystemClock(),
        ids=DecisionIds(),
        keyed=keyed,
        recorders=(log,),
    )
    transport = httpx.ASGITransport(Guard(application, engine=engine))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example.org") as client:
        for key, path, body in bodies():
            headers = {"authorization": f"Bearer {key}"} if key else {}
            await client.post(path, content=body, headers=headers)
    await opened.aclose()
    log.close()
    return folder


def replayed(log: Path, policy: Path, out: Path, *more: str) -> tuple[Result, dict[str, Any]]:
    result = CliRunner().invoke(
        main,
        [
            *("replay", "--decisions", str(log), "--policy", str(policy), "--out", str(out)),
            *("--json", *more),
        ],
    )
    assert result.exit_code in (0, 1), result.output
    return result, json.loads(result.stdout)


@pytest.fixture(scope="module", params=["proxy", "middleware"])
def session(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    upstream: str,
) -> tuple[Path, Path]:
    """(log, policy) of a recorded session."""
    folder = tmp_path_factory.mktemp(request.param)
    policy = write_policy(folder / "policy", POLICY)
    if request.param == "proxy":
        return asyncio.run(record_proxy(folder, policy, upstream)), policy
    valkey: Server = request.getfixturevalue("valkey")
    (folder / "log").mkdir()
    return asyncio.run(record_middleware(folder / "log", policy, valkey)), policy


def test_every_decision_follows_exactly_from_its_line(
    session: tuple[Path, Path], tmp_path: Path
) -> None:
    log, policy = session
    logged = list(read_decisions(log))
    assert len(logged) == len(bodies())
    assert {line["verdict"] for line in logged} == {"allow", "throttle", "verify", "deny"}
    reasons = {line["reason"] for line in logged}
    assert reasons >= {
        *("ok", "account-requests", "org-requests", "premium-before-phone", "long-answers"),
        *("slow-down", "account_banned", "missing_credential", "route_not_listed"),
        *("duplicate_key", "malformed_json"),
    }
    result, found = replayed(log, policy, tmp_path)
    assert result.exit_code == 0
    comparison = found["comparison"]
    assert comparison["changes"] == {"same": len(logged)}
    carried = {"duplicate_key", "malformed_json", "one-account"}
    unknowable = sum(line["reason"] in carried for line in logged)
    assert unknowable == 3, [line["reason"] for line in logged]
    assert comparison["how"] == {"exact": len(logged) - unknowable, "carried": unknowable}


def test_another_policy_is_counted_anew_and_says_what_changes(
    session: tuple[Path, Path], tmp_path: Path
) -> None:
    log, _ = session
    other = write_policy(
        tmp_path / "policy",
        POLICY.replace("quota: 3/min", "quota: 1000/min").replace("gte: 9000", "gte: 55"),
    )
    _, found = replayed(log, other, tmp_path / "out")
    changes = found["comparison"]["changes"]
    assert "exact" not in found["comparison"]["how"]
    assert changes["newly_refused"] == 1  # max_tokens 55
    assert changes["no_longer_refused"] == 4  # of the organisation's six three; one-account
    kinds = {example["kind"] for example in found["comparison"]["examples"]}
    assert {"newly_refused", "no_longer_refused"} <= kinds
    text = (tmp_path / "out" / "summary.json").read_text()
    assert "acc_" not in text


def test_recounting_the_same_policy_comes_to_the_same_verdicts(
    session: tuple[Path, Path], tmp_path: Path
) -> None:
    """The counters began empty, so counting them anew from the log refuses the same requests."""
    log, policy = session
    _, found = replayed(log, policy, tmp_path, "--recount")
    changes = found["comparison"]["changes"]
    assert "newly_refused" not in changes
    assert changes["no_longer_refused"] == found["comparison"]["how"]["blind"] == 1  # one-account


def test_a_line_that_comes_out_differently_under_its_own_policy_is_told(
    session: tuple[Path, Path], tmp_path: Path
) -> None:
    log, policy = session
    lines = list(read_decisions(log))
    changed = next(line for line in lines if line["reason"] == "long-answers")
    changed["facts"]["max_output_tokens"] = 5
    (tmp_path / "log").mkdir()
    path = tmp_path / "log" / "decisions-1.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result, found = replayed(path, policy, tmp_path / "out")
    assert result.exit_code == 1
    assert found["comparison"]["exact_but_different"] == 1
