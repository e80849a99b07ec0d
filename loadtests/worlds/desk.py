"""Sending one request and logging what came back: the same for customers and for operators."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from random import Random

import msgspec
import numpy as np

from ...workers.traffic import LoggedRequest, LoggedResponse
from .conversations import Conversation, OpenConversations
from .lengths import load as load_lengths
from .load import Plan
from .networks import AddressPool
from .seeds import numpy_rng, python_rng
from .tasks import Kind

NULL = msgspec.Raw(b"null")
FAULTS = (429, 429, 529, 500, 503)
NOISE = 1 << 16
BYTES_PER_TOKEN = 4.4
# Which of the fitted lengths a kind of task has.
LENGTHS = dict.fromkeys(("chat", "support", "explain", "synthesize", "coding"), "chat")
LENGTHS |= dict.fromkeys(("extract", "grade", "clean", "benchmark", "embed"), "batch")
LENGTHS |= dict.fromkeys(("summarise", "translate", "rewrite", "accessibility"), "summarise")
LENGTHS |= {"agent": "agent", "orchestrate": "agent", "elicit": "reason"}
MS_PER_TOKEN = 11.0
MAX_PUBLIC = 256
Logged = tuple[LoggedRequest, str | None]


@dataclass(order=True, slots=True)
class Later:
    """A request that is to be sent again: `attempt` times it was tried before. `actor` is who
    sends it, `account` by which account."""

    at_s: float
    number: int
    actor: int = field(compare=False)
    account: int = field(compare=False)
    conversation: Conversation = field(compare=False)
    body: bytes = field(compare=False)
    attempt: int = field(compare=False)


class Desk:
    """What all senders of a run share: chance, faults, what is open and what is to come."""

    def __init__(self, plan: Plan, pool: AddressPool) -> None:
        scenario = plan.scenario
        self.plan = plan
        self.pool = pool
        self.rng: Random = python_rng(plan.seed, "content")
        self.open = OpenConversations()
        self.later: list[Later] = []
        self.last_kind = ""  # of task, of the last request
        self.public: list[bytes] = []  # passages that anybody may have seen
        noise = numpy_rng(plan.seed, "noise").lognormal(0.0, 0.55, NOISE)
        self._noise: list[float] = noise.tolist()
        self._lengths = {kind: self._drawn(kind) for kind in sorted(set(LENGTHS.values()))}
        self._faults = scenario.faults
        self._keeps_bodies = scenario.bodies
        self._keeps_answers = scenario.answers
        self._knows_ja4 = scenario.ja4
        self._number = 0

    def noise(self) -> float:
        """Log-normal, median 1, sigma 0.55."""
        return self._noise[self.rng.getrandbits(16)]

    def _drawn(self, kind: str) -> tuple[list[int], list[int]]:
        """Prompt and answer lengths in bytes, as fitted to real traces, drawn in advance."""
        rng = numpy_rng(self.plan.seed, "lengths", kind)
        prompts, answers = load_lengths().sample(kind, rng, NOISE)
        most = self.plan.scenario.text_limit_bytes
        cut = [np.minimum(tokens * BYTES_PER_TOKEN, most) for tokens in (prompts, answers)]
        return cut[0].astype(int).tolist(), cut[1].astype(int).tolist()

    def prompt_bytes(self, kind: Kind) -> int:
        """How long the next prompt of that kind is."""
        return self._lengths[LENGTHS[kind.name]][0][self.rng.getrandbits(16)]

    def post(
        self, conv: Conversation, at_s: float, account_id: str, body: bytes, attempt: int = 0
    ) -> tuple[LoggedRequest, float | None]:
        """Send `body` for `conv`, with its key and address; with it when the model API's failure
        is known to the caller, None where it answered."""
        rng, app, client = self.rng, conv.app, conv.client
        self.last_kind = app.kind.name
        status = 200
        if rng.random() < self._faults:
            status = FAULTS[int(rng.random() * len(FAULTS))]
        failed = status != 200
        if failed:
            answer = conv.fail(status)
            latency_ms = int(40 + 200 * self.noise())
        else:
            wanted = self._lengths[LENGTHS[app.kind.name]][1][rng.getrandbits(16)]
            answer = conv.answer(rng, len(body), text_bytes=wanted)
            latency_ms = int((260 + MS_PER_TOKEN * answer.output_tokens) * self.noise()) + 20
        conv.last_s = at_s
        conv.ready_s = at_s + latency_ms / 1000
        headers = client.headers(len(body))
        if attempt:
            headers = client.again(headers, attempt)
        response = LoggedResponse(
            status=status,
            latency_ms=latency_ms,
            input_tokens=None if failed else answer.input_tokens,
            output_tokens=None if failed else answer.output_tokens,
            cached_input_tokens=answer.cached_tokens,
            stream=app.streams,
            body=msgspec.Raw(answer.body) if self._keeps_answers else NULL,
        )
        request = LoggedRequest(
            ts=round(at_s, 3),
            account_id=account_id,
            method="POST",
            path=app.path,
            key_id=conv.key,
            client_ip=conv.address,
            headers=headers,
            ja4=client.ja4 if self._knows_ja4 else None,
            body=msgspec.Raw(body) if self._keeps_bodies else NULL,
            response=response,
        )
        return request, conv.ready_s if failed else None

    def resend(
        self,
        at_s: float,
        *,
        actor: int,
        account: int,
        conversation: Conversation,
        body: bytes,
        attempt: int,
    ) -> None:
        """Have `body` sent again at `at_s`; ties go in the order in which they were asked for."""
        self._number += 1
        again = Later(at_s, self._number, actor, account, conversation, body, attempt)
        heapq.heappush(self.later, again)

    def overhear(self, passage: bytes) -> None:
        """A passage of somebody's answer becomes public: in a post, a wiki, a chat."""
        if len(self.public) < MAX_PUBLIC:
            self.public.append(passage)
        else:
            self.public[int(self.rng.random() * MAX_PUBLIC)] = passage
