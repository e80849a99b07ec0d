"""Requests with their instructions rewritten, wherever in a body they stand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Rewriting = Callable[[str], str]


def rewritten(body: bytes, rewrite: Rewriting) -> bytes:
    """What the operator and the users say, in any dialect; tools, parameters, the model's own turns
    and the results of tools stay as they are."""
    request = json.loads(body)
    for name in ("system", "instructions", "input", "prompt"):
        if isinstance(request.get(name), str):
            request[name] = rewrite(request[name])
    for name in ("messages", "input"):
        if isinstance(request.get(name), list):
            request[name] = [_turn(one, rewrite) for one in request[name]]
    return json.dumps(request, ensure_ascii=False).encode()


def _turn(turn: dict[str, Any], rewrite: Rewriting) -> dict[str, Any]:
    if turn.get("role") not in ("system", "developer", "user"):
        return turn
    content = turn.get("content")
    if isinstance(content, str):
        return turn | {"content": rewrite(content)}
    if isinstance(content, list):
        return turn | {"content": [_part(one, rewrite) for one in content]}
    return turn


def _part(part: dict[str, Any], rewrite: Rewriting) -> dict[str, Any]:
    text = part.get("text")
    return part | {"text": rewrite(text)} if isinstance(text, str) else part
