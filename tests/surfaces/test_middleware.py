"""The example application: the guard as middleware under a plain uvicorn."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.app import create_engine
from gateway.core.keyed import KeyedHash
from gateway.errors import PolicyError, UsageError
from gateway.loadtests.processes import ServerProcess
from gateway.loadtests.servers.valkey import server as valkey_server
from gateway.model import Status, Subject
from gateway.stores import open_store

from .conftest import write_policy
from .raw_http import chat, post

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "examples"
SECRET = b"the secret of the example application"
GOOD, BANNED = "sk-good-0123456789", "sk-banned-0123456789"


async def fill(url: str) -> None:
    keyed = KeyedHash(SECRET)
    store = await open_store(url, secret_fingerprint=keyed.fingerprint(), timeout_s=1.0)
    await store.put(Subject("acc_1", tier="start"), {keyed.credential(GOOD.encode()): "k1"})
    banned = Subject("acc_2", status=Status.BANNED)
    await store.put(banned, {keyed.credential(BANNED.encode()): "k2"})
    await store.aclose()


@pytest.fixture(scope="module")
def app_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    import asyncio

    folder = tmp_path_factory.mktemp("middleware")
    secret = folder / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    with valkey_server(folder) as store:
        asyncio.run(fill(store.url))
        os.environ["HYDRAGATE_STORE"] = store.url
        os.environ["HYDRAGATE_SECRET"] = str(secret)
        os.environ["HYDRAGATE_POLICY"] = str(write_policy(folder / "policy"))
        running = ServerProcess(
            [
                *(sys.executable, "-m", "uvicorn", "fastapi_app:app", "--port", "0"),
                *("--app-dir", str(EXAMPLE)),
            ]
        )
        try:
            yield running.wait_ready("Uvicorn running on")[0]
        finally:
            running.stop()


def test_outside_of_its_prefix_nothing_is_touched(app_url: str) -> None:
    with urllib.request.urlopen(app_url + "/hello", timeout=10) as answer:
        assert json.loads(answer.read()) == {"hello": "everyone"}
        assert "x-request-id" not in answer.headers


def test_the_decision_is_on_the_request(app_url: str) -> None:
    answer = post(app_url, chat(), key=GOOD)
    assert answer.status == 200
    assert answer.json()["choices"][0]["message"]["content"] == "Hello acc_1"
    assert answer.headers["x-ratelimit-limit-requests"]


def test_streams_stay_streams_and_hidden_usage_stays_hidden(app_url: str) -> None:
    with openai.OpenAI(base_url=app_url + "/v1", api_key=GOOD, max_retries=0) as client:
        asked: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        stream = client.chat.completions.create(**asked, stream=True)
        words = [chunk.choices[0].delta.content for chunk in stream]
    assert words == ["Hello", " dear", " caller"]


@pytest.mark.parametrize(
    ("key", "path", "status"),
    [
        (BANNED, "/v1/chat/completions", 403),
        ("sk-nobody-12345", "/v1/chat/completions", 401),
        (None, "/v1/chat/completions", 401),
        (GOOD, "/v1/anything/else", 403),
    ],
)
def test_refusals_never_reach_the_application(
    app_url: str, key: str | None, path: str, status: int
) -> None:
    answer = post(app_url, chat(), key=key, path=path)
    assert answer.status == status
    assert answer.headers["x-hydragate-decision"]


def test_an_engine_says_at_once_what_is_wrong_with_its_set_up(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o644)
    policy = write_policy(tmp_path / "policy")
    with pytest.raises(UsageError, match="others can read it"):
        create_engine(policy=policy, store="redis://127.0.0.1:1", secret_file=secret)
    secret.chmod(0o600)
    with pytest.raises(PolicyError):
        create_engine(policy=tmp_path, store="redis://127.0.0.1:1", secret_file=secret)
