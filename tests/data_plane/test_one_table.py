"""One table of cases drives every surface and demands the same decision, the same headers, the
same answer and the same settled tokens. What a surface cannot see or say stands in `EXCEPTIONS`,
and in docs/surfaces.md."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.core.keyed import KeyedHash
from gateway.loadtests.processes import ServerProcess, gateway
from gateway.loadtests.servers.nginx import PLAIN, WITH_LUA
from gateway.loadtests.servers.valkey import server as valkey_server
from gateway.stores import open_store
from gateway.workers.account_import import ImportReport, import_accounts, read_changes
from gateway.workers.account_records import RecordReader
from tests.surfaces.conftest import (
    BANNED_KEY,
    GENEROUS,
    GOOD_KEY,
    TIGHT_KEY,
    write_accounts,
    write_policy,
)
from tests.surfaces.raw_http import Answer, chat, exchange

from .planes import deciding, envoy_before, nginx_before

SURFACES = ("proxy", "middleware", "envoy", "nginx", "nginx-lua")
POLICY = (
    GENEROUS
    + """
rules:
  - name: no-such-model
    why: a rule that needs the body
    when: {model: {in: [forbidden]}}
    on_unknown: no_match
    then: {deny: {}}
"""
)
SECRET = b"the secret of the table of cases"
MESSAGES = "/v1/messages"


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    status: int
    reason: str
    key: str | None = GOOD_KEY
    path: str = "/v1/chat/completions"
    body: bytes = field(default_factory=chat)
    headers: tuple[tuple[str, str], ...] = ()


CASES = (
    Case("json", 200, "ok"),
    Case("stream", 200, "ok", body=chat(stream=True)),
    Case(
        "stream that asks",
        200,
        "ok",
        body=chat(stream=True, stream_options={"include_usage": True}),
    ),
    Case(
        "stream that declines",
        200,
        "ok",
        body=chat(stream_options={"include_usage": False}, stream=True),
    ),
    Case("anthropic json", 200, "ok", path=MESSAGES, body=chat(max_tokens=9)),
    Case("anthropic stream", 200, "ok", path=MESSAGES, body=chat(max_tokens=9, stream=True)),
    Case("responses", 200, "ok", path="/v1/responses", body=b'{"model":"m","input":"hi"}'),
    Case(
        "responses stream",
        200,
        "ok",
        path="/v1/responses",
        body=b'{"model":"m","input":"hi","stream":true}',
    ),
    Case("embeddings", 200, "ok", path="/v1/embeddings", body=b'{"model":"m","input":"hi"}'),
    Case("gzip", 200, "ok", body=gzip.compress(chat()), headers=(("content-encoding", "gzip"),)),
    Case("large", 200, "ok", body=chat(messages=[{"role": "user", "content": "x" * 300_000}])),
    Case(
        "large stream",
        200,
        "ok",
        body=chat(stream=True, messages=[{"role": "user", "content": "x" * 300_000}]),
    ),
    Case("own request id", 200, "ok", headers=(("x-request-id", "mine-1"),)),
    Case(
        "claims an address",
        200,
        "ok",
        headers=(
            ("x-forwarded-for", "203.0.113.9"),
            ("x-hydragate-peer", "203.0.113.9"),
            ("x-hydragate-upstream", "none"),
        ),
    ),
    Case("banned", 403, "account_banned", key=BANNED_KEY),
    Case("unknown key", 401, "unknown_credential", key="sk-nobody-12345"),
    Case("no key", 401, "missing_credential", key=None),
    Case("no such route", 403, "route_not_listed", path="/v1/anything"),
    Case("dot segment", 403, "route_not_listed", path="/v1/x/../chat/completions"),
    Case("double slash", 403, "route_not_listed", path="/v1//chat/completions"),
    Case("forbidden model", 403, "no-such-model", body=chat(model="forbidden")),
    Case("a key twice", 400, "duplicate_key", body=b'{"model":"a","model":"b"}'),
    Case("no json", 400, "malformed_json", body=b"{"),
    Case(
        "too large",
        413,
        "body_too_large",
        body=chat(messages=[{"role": "user", "content": "x" * 1_100_000}]),
    ),
    Case("anthropic banned", 403, "account_banned", key=BANNED_KEY, path=MESSAGES),
    Case("first of two", 200, "ok", key=TIGHT_KEY),
    Case("second of two", 200, "ok", key=TIGHT_KEY),
    Case("third of two", 429, "account-requests", key=TIGHT_KEY),
    Case("third of two, anthropic", 429, "account-requests", key=TIGHT_KEY, path=MESSAGES),
)
BODY_LIMIT = 1024 * 1024
NEEDS_BODY = "nginx does not show the body"
BY_NGINX = "nginx says it itself, without a decision"
COMPRESSED = "the body goes on as it came; the stand-in reads no codings"
UNMEASURED = "its length does not tell its tokens"
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("nginx", "forbidden model"): NEEDS_BODY,
    ("nginx", "a key twice"): NEEDS_BODY,
    ("nginx", "no json"): NEEDS_BODY,
    ("nginx", "too large"): BY_NGINX,
    ("nginx-lua", "too large"): BY_NGINX,
    ("nginx", "gzip"): UNMEASURED,
    ("nginx-lua", "gzip"): COMPRESSED,
    ("envoy", "gzip"): COMPRESSED,
}
TIMED = ("date", "x-request-id", "request-id", "x-hydragate-decision", "server", "connection")
BY_CLOCK = ("-reset", "reset-", "remaining", "retry-after")


@dataclass(slots=True)
class Seen:
    answer: Answer
    line: dict[str, Any]


@contextlib.contextmanager
def proxy(folder: Path, upstream: str) -> Iterator[tuple[str, Path]]:
    policy = write_policy(folder / "policy", POLICY)
    accounts = write_accounts(folder / "accounts.jsonl")
    config = folder / "config.yaml"
    config.write_text(f"body_limit_bytes: {BODY_LIMIT}\nstore_timeout_s: 1.0\n")
    with gateway(
        folder / "data",
        *("--config", str(config), "--upstream", upstream),
        *("--policy", str(policy), "--accounts", str(accounts)),
    ) as running:
        yield running.url, folder / "data" / "log"


@contextlib.contextmanager
def middleware(folder: Path, upstream: str) -> Iterator[tuple[str, Path]]:
    secret = folder / "secret"
    folder.mkdir(parents=True, exist_ok=True)
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    with valkey_server(folder) as store:
        asyncio.run(_fill(store.url, write_accounts(folder / "accounts.jsonl")))
        os.environ |= {
            "TABLE_UPSTREAM": upstream,
            "TABLE_POLICY": str(write_policy(folder / "policy", POLICY)),
            "TABLE_STORE": store.url,
            "TABLE_SECRET": str(secret),
            "TABLE_LIMIT": str(BODY_LIMIT),
            "TABLE_LOG": str(folder / "log"),
        }
        running = ServerProcess(
            [
                *(sys.executable, "-m", "uvicorn", "tests.data_plane.middleware_app:app"),
                *("--port", "0", "--lifespan", "off"),
            ]
        )
        try:
            yield running.wait_ready("Uvicorn running on")[0], folder / "log"
        finally:
            running.stop()


async def _fill(url: str, accounts: Path) -> None:
    keyed = KeyedHash(SECRET)
    store = await open_store(url, secret_fingerprint=keyed.fingerprint(), timeout_s=5.0)
    report = ImportReport()
    reader = RecordReader(keyed, edge_names_accounts=False)
    await import_accounts(read_changes(accounts, reader, report), store, report)
    assert report.bad == 0
    await store.aclose()


@contextlib.contextmanager
def through_envoy(folder: Path, upstream: str) -> Iterator[tuple[str, Path]]:
    with (
        deciding(folder, upstream, policy=POLICY, body_limit_bytes=BODY_LIMIT, workers=2) as plane,
        envoy_before(plane.config) as (url, _, _),
    ):
        yield url, folder / "data" / "log"


@contextlib.contextmanager
def through_nginx(folder: Path, upstream: str, site: str = PLAIN) -> Iterator[tuple[str, Path]]:
    edit = (("body_size 32m", "body_size 1m"),)
    with (
        deciding(folder, upstream, policy=POLICY, body_limit_bytes=BODY_LIMIT, workers=2) as plane,
        nginx_before(plane.config, upstream, site=site, edit=edit) as (url, _),
    ):
        yield url, folder / "data" / "log"


STARTS: dict[str, Callable[[Path, str], contextlib.AbstractContextManager[tuple[str, Path]]]] = {
    "proxy": proxy,
    "middleware": middleware,
    "envoy": through_envoy,
    "nginx": through_nginx,
    "nginx-lua": partial(through_nginx, site=WITH_LUA),
}


@pytest.fixture(scope="module")
def seen(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Seen]]:
    """Surface → case → what came of it."""
    found = {}
    for surface in SURFACES:
        folder = tmp_path_factory.mktemp(surface)
        with STARTS[surface](folder, upstream) as (url, log):
            answers = {case.name: ask(url, case) for case in CASES}
            unlogged = [c.name for c in CASES if EXCEPTIONS.get((surface, c.name)) == BY_NGINX]
            lines = log_lines(log, len(CASES) - len(unlogged))
            for name in unlogged:
                lines.insert([case.name for case in CASES].index(name), {})
            pairs = zip(CASES, lines, strict=True)
            found[surface] = {case.name: Seen(answers[case.name], line) for case, line in pairs}
    return found


def ask(url: str, case: Case) -> Answer:
    """On a connection that may stay open: a 413 comes before the body is read."""
    began_ms = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == began_ms:
        pass  # decisions of one millisecond have no order
    lines = [f"POST {case.path} HTTP/1.1", "Host: gateway", f"Content-Length: {len(case.body)}"]
    lines += [f"Authorization: Bearer {case.key}"] if case.key else []
    lines += [f"{name}: {value}" for name, value in case.headers]
    return exchange(url, "\r\n".join([*lines, "", ""]).encode() + case.body)


def log_lines(folder: Path, count: int) -> list[dict[str, Any]]:
    """All lines of all workers in the order of their decisions, once there are `count`."""
    ends = time.monotonic() + 20
    lines: list[dict[str, Any]] = []
    while len(lines) < count and time.monotonic() < ends:
        time.sleep(0.1)
        texts = [path.read_text() for path in folder.glob("*.jsonl")]
        lines = [json.loads(line) for text in texts for line in text.splitlines()]
    return sorted(lines, key=lambda line: str(line["id"]))


def told(answer: Answer) -> dict[str, str]:
    """The headers a caller goes by; of those that count or tell the time, that they are there."""
    return {
        name: "" if any(part in name for part in BY_CLOCK) else value
        for name, value in answer.headers.items()
        if name not in TIMED and name not in ("content-length", "transfer-encoding")
    }


def _stable(headers: dict[str, str]) -> dict[str, str]:
    """`ratelimit` counts and tells the time inside its value."""
    return {name: "" if name == "ratelimit" else value for name, value in headers.items()}


def body_of(answer: Answer) -> object:
    if "json" not in answer.headers.get("content-type", ""):
        return b"data: [DONE]" in answer.body or b"message_stop" in answer.body
    found = answer.json()
    for holder in (found, found.get("error", {})):
        for name in ("id", "request_id", "reference", "message", "created", "created_at"):
            holder.pop(name, None)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("surface", SURFACES)
def test_every_surface_decides_and_answers_alike(
    seen: dict[str, dict[str, Seen]], surface: str, case: Case
) -> None:
    if EXCEPTIONS.get((surface, case.name)) == NEEDS_BODY:
        assert seen[surface][case.name].line["verdict"] == "allow"
        return
    if EXCEPTIONS.get((surface, case.name)) == COMPRESSED:
        found = seen[surface][case.name]
        assert (found.line["verdict"], found.answer.status) == ("allow", 400)
        return
    if EXCEPTIONS.get((surface, case.name)) == UNMEASURED:
        found = seen[surface][case.name]
        assert (found.line["reason"], found.answer.status) == ("unsupported_encoding", 400)
        return
    ours, proxys = seen[surface][case.name], seen["proxy"][case.name]
    assert ours.answer.status == case.status
    if EXCEPTIONS.get((surface, case.name)) == BY_NGINX:
        assert ours.answer.json()["error"]["code"] == proxys.answer.json()["error"]["code"]
        return
    assert ours.line["reason"] == case.reason
    for name in ("verdict", "would_be", "reason", "outcome", "degraded"):
        assert ours.line[name] == proxys.line[name], name
    assert _stable(told(ours.answer)) == _stable(told(proxys.answer))
    if case.status != 200:
        assert body_of(ours.answer) == body_of(proxys.answer)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.status == 200], ids=lambda c: c.name
)
@pytest.mark.parametrize("surface", SURFACES)
def test_every_surface_settles_the_same_tokens(
    seen: dict[str, dict[str, Seen]], surface: str, case: Case
) -> None:
    usage = seen[surface][case.name].line["usage"]
    if EXCEPTIONS.get((surface, case.name)) in (COMPRESSED, UNMEASURED):
        assert usage == [None, 0, None], "an answer that is an error used nothing"
        return
    if surface == "nginx":
        assert usage == [None, 0, None], "without Lua nginx sees no tokens: the estimate stands"
        return
    assert usage == seen["proxy"][case.name].line["usage"]
    assert usage[0], "the stand-in tells its usage"


@pytest.mark.parametrize("surface", [name for name in SURFACES if name != "nginx"])
def test_a_usage_event_nobody_asked_for_is_hidden(
    seen: dict[str, dict[str, Seen]], surface: str
) -> None:
    for name, shows in (
        ("stream", False),
        ("stream that asks", True),
        ("stream that declines", False),
        ("large stream", False),
    ):
        body = seen[surface][name].answer.body
        assert (b'"choices":[]' in body) is shows, name
        assert body.endswith(b"data: [DONE]\n\n")
