"""The guard inside of applications that do not stand at the root of their server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette

from gateway.adapters.guard import Guard
from gateway.core.keyed import KeyedHash
from gateway.engine import Engine
from gateway.observe.ids import DecisionIds
from gateway.policy.load import PolicyHolder
from gateway.stores.memory import MemoryStore

CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
POLICY = "version: 1\nmode: enforce\nunknown_credentials: adopt\n"
PATH = "/v1/chat/completions"


class _Clock:
    def now_us(self) -> int:
        return 1_776_816_000_000_000


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    return Engine(
        store=MemoryStore(lambda: 0),
        policies=PolicyHolder(policy),
        clock=_Clock(),
        ids=DecisionIds(),
        keyed=KeyedHash(b"a secret of the tests of the guard"),
    )


def application(engine: Engine) -> FastAPI:
    app = FastAPI()
    app.add_middleware(Guard, engine=engine)

    @app.post(PATH)
    async def chat(request: Request) -> dict[str, str]:
        return {"path": request.scope["path"], "by": request.state.decision.subject.status}

    return app


async def posted(app: Any, path: str, *, key: str | None, root_path: str = "") -> httpx.Response:
    transport = httpx.ASGITransport(app, root_path=root_path)
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.post(path, content=CHAT, headers=headers)


@pytest.mark.parametrize("path", [PATH, "/api" + PATH])
async def test_no_spelling_of_the_root_path_leads_past_the_guard(engine: Engine, path: str) -> None:
    """Servers put it before the path (uvicorn) or leave it away; routers take both."""
    app = application(engine)
    assert (await posted(app, path, key=None, root_path="/api")).status_code == 401
    served = await posted(app, path, key="sk-1", root_path="/api")
    assert served.json() == {"path": path, "by": "provisional"}


async def test_a_mounted_application_is_guarded_below_its_mount(engine: Engine) -> None:
    whole = Starlette()
    whole.mount("/models", application(engine))
    assert (await posted(whole, "/models" + PATH, key=None)).status_code == 401
    assert (await posted(whole, "/models" + PATH, key="sk-1")).status_code == 200
    unlisted = await posted(whole, "/models/v1/else", key="sk-1")
    assert unlisted.json()["error"]["reason"] == "route_not_listed"


async def test_a_root_path_that_the_prefix_begins_with_is_taken_off_once(engine: Engine) -> None:
    app = application(engine)
    assert (await posted(app, PATH, key=None, root_path="/v1")).status_code == 404
    assert (await posted(app, "/v1" + PATH, key=None, root_path="/v1")).status_code == 401
    assert (await posted(app, "/v12" + PATH, key=None, root_path="/v1")).status_code == 404
