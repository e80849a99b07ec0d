"""A world of three accounts and forty exchanges, written out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.workers.traffic import LoggedRequest

BEGINS_S = 1_776_643_200.0
COUNT = 40
EVERY_S = 5.0


class SmallWorld:
    """`old` and `new` are customers, `new` signs up on the way; `pool` belongs to a campaign that
    shares its account with others' traffic in every fourth exchange. `pool` never confirmed its
    mail address, and asks for a premium model."""

    def accounts(self) -> Iterator[dict[str, Any]]:
        for name in ("old", "pool"):
            yield {
                "account_id": name,
                "created_at": BEGINS_S - 3600,
                "tier": "start",
                "verification": [] if name == "pool" else ["email", "payment"],
                "key_ids": [f"key_{name}"],
            }

    def events(self) -> Iterator[dict[str, Any]]:
        new = {"account_id": "new", "created_at": BEGINS_S + 20, "verification": ["payment"]}
        yield {"ts": BEGINS_S + 20, "event": "created", **new, "key_ids": ["key_new"]}
        yield {"ts": BEGINS_S + 30, "event": "banned", "account_id": "old"}
        late = {"account_id": "late", "created_at": BEGINS_S + 1e6}
        yield {"ts": BEGINS_S + 1e6, "event": "created", **late}

    def labels(self) -> Iterator[dict[str, Any]]:
        for name in ("late", "new", "old"):
            yield {"account_id": name, "campaign": None, "class": "ordinary"}
        yield {"account_id": "pool", "campaign": "farm", "class": "campaign"}

    def exchanges(self) -> Iterator[tuple[LoggedRequest, str | None]]:
        for number in range(COUNT):
            name = "pool" if number % 2 else ("old" if number < 20 else "new")
            is_theirs = name == "pool" and number % 4 == 1
            yield _request(number, name), "farm" if is_theirs else None


def _request(number: int, name: str) -> LoggedRequest:
    is_anthropic = name != "new"
    body = {
        "model": "claude-opus-4-5" if name == "pool" else "stand-in",
        "max_tokens": 40,
        "messages": [{"role": "user", "content": f"question {number}"}],
        "stream": number % 3 == 0,
    }
    headers = [("host", "api.example.org"), ("user-agent", "it/1"), ("content-length", "7")]
    if is_anthropic:
        headers.append(("anthropic-version", "2023-06-01"))
    return LoggedRequest(
        ts=BEGINS_S + number * EVERY_S,
        account_id=name,
        key_id=f"key_{name}",
        client_ip="203.0.113.9",
        method="POST",
        path="/v1/messages" if is_anthropic else "/v1/chat/completions",
        headers=headers,
        body=msgspec.Raw(msgspec.json.encode(body)),
    )
