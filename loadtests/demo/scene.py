"""Who calls in the demo: a world of the generator, and one customer whose script ran away.

The runaway is what a limit per account is for, and the one thing here that it catches.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from ...workers.traffic import LoggedRequest
from ..live.window import Window, World, load_scenario

SCENARIO = Path(__file__).with_name("demo.yaml")
# World seconds in each real one: limits see that many times the rates, and still not the campaign.
COMPRESSION = 60.0
RUNAWAY = "runaway script"
RUNAWAY_ID = "acc_9d1f06a83c5be274"
RUNAWAY_PER_S = 1.0  # in the world's time, sixty a real second
RUNAWAY_FROM, RUNAWAY_TO = 0.35, 0.75  # of the window


class Scene:
    """The demo's world. `window` is what is sent of it."""

    def __init__(self, world: World, window: Window, *, seed: int = 7) -> None:
        self.window = window
        self._world, self._seed = world, seed

    @classmethod
    def load(cls, *, seconds: float, scale: float) -> Scene:
        """The first minutes of the scenario; `scale` multiplies its accounts."""
        world, begins_s = load_scenario(SCENARIO, scale=scale)
        return cls(world, Window(begins_s, seconds, COMPRESSION))

    def accounts(self) -> Iterator[dict[str, Any]]:
        """Those of the world, and the runaway's."""
        yield from self._world.accounts()
        yield {
            "account_id": RUNAWAY_ID,
            "created_at": self.window.start_s - 200 * 86_400,
            "tier": "start",
            "email_domain": "example.org",
            "verification": ["email", "payment"],
            "key_ids": ["key_1"],
        }

    def events(self) -> Iterator[dict[str, Any]]:
        """The world's own."""
        return self._world.events()

    def labels(self) -> Iterator[dict[str, Any]]:
        """The world's own, and the runaway's: nobody's campaign, and due a limit."""
        yield from self._world.labels()
        label = {"account_id": RUNAWAY_ID, "campaign": None, "class": RUNAWAY}
        yield label | {"limit_due": True}

    def exchanges(self) -> Iterator[tuple[LoggedRequest, str | None]]:
        """Both, by time."""
        runaway = ((request.ts, request, None) for request in self._runaway())
        world = ((request.ts, request, campaign) for request, campaign in self._world.exchanges())
        for _, request, campaign in heapq.merge(world, runaway, key=itemgetter(0)):
            yield request, campaign

    def _runaway(self) -> Iterator[LoggedRequest]:
        span_s = self.window.end_s - self.window.start_s
        at_s = self.window.start_s + RUNAWAY_FROM * span_s
        ends_s = self.window.start_s + RUNAWAY_TO * span_s
        rng = random.Random(self._seed)
        body = {"model": "gpt-5-mini", "max_tokens": 64}
        body["messages"] = [
            {"role": "user", "content": "Summarise: " + "all work and no play " * 20}
        ]
        raw = msgspec.Raw(json.dumps(body).encode())
        while (at_s := at_s + rng.expovariate(RUNAWAY_PER_S)) < ends_s:
            yield LoggedRequest(
                ts=at_s,
                account_id=RUNAWAY_ID,
                key_id="key_1",
                client_ip="203.0.113.20",
                method="POST",
                path="/v1/chat/completions",
                headers=[
                    ("user-agent", "OpenAI/Python 2.0.0"),
                    ("content-type", "application/json"),
                ],
                body=raw,
            )
