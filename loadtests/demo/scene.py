"""Who calls in the demo, and when.

The campaign has the shape of the largest one that a vendor has alleged so far: a pool of 3,500
accounts that peaked at about 3 million exchanges a day, 35 a second in all and under 0.6 a minute
per account (Anthropic, September 2026; the accused contest such figures). It runs in real time,
so that no limit sees a rate that would not exist. The customers' rates are heavy-tailed; one of
them has a script that lost its sleep.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..driver import Shot, poisson, request_bytes
from ..prompts import ordinary_prompts

CAMPAIGN_ACCOUNTS = 3_500
CAMPAIGN_PER_S = 35.0
CUSTOMERS = 300
CUSTOMERS_PER_S = 20.0
RUNAWAY_PER_S = 60.0
RUNAWAY_FROM, RUNAWAY_TO = 0.35, 0.75  # of the run
STREAM_SHARE = 0.4
ANTHROPIC_SHARE = 0.4
CAMPAIGN, CUSTOMER, RUNAWAY = "campaign", "customer", "runaway"
_TEMPLATE = (
    "You are an expert solver. Think step by step, write out every step of the reasoning that "
    "leads to the answer, then give the final answer on a line of its own after ANSWER:."
)
_TASKS = ("a proof about primes", "a scheduling puzzle", "a bug in a parser", "a physics estimate")


@dataclass(frozen=True, slots=True)
class Caller:
    account_id: str
    key: str
    kind: str
    tier: str
    created_at: int


@dataclass(slots=True)
class Scene:
    """The cast, and its shots in order of time; the same for the same seed."""

    duration_s: float
    scale: float = 1.0  # of the campaign, in accounts; never in rate per account
    seed: int = 7
    callers: list[Caller] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        count = max(10, round(CAMPAIGN_ACCOUNTS * self.scale))
        self.callers = [
            *(
                _caller(rng, CUSTOMER, rng.choice(("start", "build", "scale")))
                for _ in range(CUSTOMERS)
            ),
            _caller(rng, RUNAWAY, "start"),
            *(_caller(rng, CAMPAIGN, "start") for _ in range(count)),
        ]

    def of(self, kind: str) -> list[Caller]:
        return [caller for caller in self.callers if caller.kind == kind]

    def accounts(self) -> Iterator[dict[str, Any]]:
        """Accounts v1 for the gateway. The campaign's records look like anyone's."""
        rng = random.Random(self.seed + 1)
        for caller in self.callers:
            yield {
                "account_id": caller.account_id,
                "created_at": caller.created_at,
                "tier": caller.tier,
                "billing_country": rng.choice(("DE", "US", "BR", "IN", "JP", "KE", "FR")),
                "email_domain": rng.choice(("example.org", "example.com", "example.net")),
                "verification": ["email"],
                "keys": [caller.key],
            }

    def shots(self) -> list[Shot]:
        rng = random.Random(self.seed + 2)
        prompts = ordinary_prompts()
        shots = [
            *_campaign(self.of(CAMPAIGN), self.duration_s, rng),
            *_customers(self.of(CUSTOMER), self.duration_s, rng, prompts),
            *_runaway(self.of(RUNAWAY)[0], self.duration_s, rng, prompts),
        ]
        return sorted(shots, key=lambda shot: shot.due_s)


def _caller(rng: random.Random, kind: str, tier: str) -> Caller:
    token = f"{rng.getrandbits(96):024x}"
    return Caller(
        f"acc_{rng.getrandbits(64):016x}",
        f"sk-demo-{token}",
        kind,
        tier,
        1_750_000_000 + rng.randrange(40_000_000),
    )


def _campaign(pool: list[Caller], duration_s: float, rng: random.Random) -> Iterator[Shot]:
    """Round-robin over the pool, as relay software spreads its load."""
    rate = CAMPAIGN_PER_S * len(pool) / CAMPAIGN_ACCOUNTS
    order = rng.sample(pool, len(pool))
    for number, due_s in enumerate(poisson(rate, duration_s, rng.random)):
        task = f"Solve {rng.choice(_TASKS)}, variant {rng.randrange(10_000)}."
        yield _shot(due_s, order[number % len(order)], task, rng, system=_TEMPLATE)


def _customers(
    customers: list[Caller], duration_s: float, rng: random.Random, prompts: list[str]
) -> Iterator[Shot]:
    weights = [rng.lognormvariate(0, 1.4) for _ in customers]
    for due_s in poisson(CUSTOMERS_PER_S, duration_s, rng.random):
        (caller,) = rng.choices(customers, weights)
        yield _shot(due_s, caller, rng.choice(prompts), rng)


def _runaway(
    caller: Caller, duration_s: float, rng: random.Random, prompts: list[str]
) -> Iterator[Shot]:
    begins, ends = RUNAWAY_FROM * duration_s, RUNAWAY_TO * duration_s
    for after_s in poisson(RUNAWAY_PER_S, ends - begins, rng.random):
        yield _shot(begins + after_s, caller, prompts[0], rng)


def _shot(
    due_s: float, caller: Caller, prompt: str, rng: random.Random, *, system: str | None = None
) -> Shot:
    is_anthropic = rng.random() < ANTHROPIC_SHARE
    messages = [{"role": "user", "content": prompt}]
    body: dict[str, Any] = {"model": "stand-in", "max_tokens": 512, "messages": messages}
    if rng.random() < STREAM_SHARE:
        body["stream"] = True
    headers = [("user-agent", "OpenAI/Python 2.0.0")]
    if is_anthropic:
        headers = [("user-agent", "Anthropic/Python 0.60.0"), ("anthropic-version", "2023-06-01")]
        body |= {"system": system} if system else {}
    elif system:
        messages.insert(0, {"role": "system", "content": system})
    raw = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    path = "/v1/messages" if is_anthropic else "/v1/chat/completions"
    wire = request_bytes(path, raw, key=caller.key, headers=headers)
    return Shot(due_s, wire, tag=f"{caller.kind} {caller.account_id}")
