"""Hydragate as middleware in an application that serves a model itself.

    HYDRAGATE_STORE=redis://127.0.0.1:6379 HYDRAGATE_SECRET=./secret \\
    HYDRAGATE_POLICY=policies/observe uvicorn fastapi_app:app
"""

import json
import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from hydragate.adapters.guard import Guard
from hydragate.app import create_engine

engine = create_engine(
    policy=os.environ["HYDRAGATE_POLICY"],
    store=os.environ["HYDRAGATE_STORE"],
    secret_file=os.environ["HYDRAGATE_SECRET"],
)
app = FastAPI()
app.add_middleware(Guard, engine=engine)


@app.get("/hello")
async def hello() -> dict[str, str]:
    """Outside of /v1/: none of the guard's business."""
    return {"hello": "everyone"}


@app.post("/v1/chat/completions")
async def chat(request: Request) -> Any:
    """The decision is on the request; a refused one never gets here."""
    asked = await request.json()
    decision = request.state.decision
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    if not asked.get("stream"):
        message = {"role": "assistant", "content": f"Hello {decision.subject.account_id}"}
        return {"id": "c-1", "choices": [{"index": 0, "message": message}], "usage": usage}

    async def events() -> AsyncIterator[bytes]:
        for word in ("Hello", " dear", " caller"):
            yield _event({"choices": [{"index": 0, "delta": {"content": word}}]})
        if asked.get("stream_options", {}).get("include_usage"):
            yield _event({"choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"
