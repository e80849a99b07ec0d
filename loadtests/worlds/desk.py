"""Sending one request and logging what came back: the same for customers and for operators."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

import msgspec
import numpy as np

from ...workers.traffic import LoggedRequest, LoggedResponse
from .conversations import BeforeAnswer, Conversation, OpenConversations
from .lengths import load as load_lengths
from .load import Plan
from .networks import AddressPool
from .refusals import Refusal
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
    sends it, `account` by which account; `was_refused`: a gateway refused it before."""

    at_s: float
    number: int
    actor: int = field(compare=False)
    account: int = field(compare=False)
    conversation: Conversation = field(compare=False)
    body: bytes = field(compare=False)
    attempt: int = field(compare=False)
    was_refused: bool = field(compare=False, default=False)


class Sender(Protocol):
    """Whoever sends, and is told what came of it before anybody sends anything else."""

    def answered(self, sent: Sent) -> None:
        """The request was served; the answer is the logged one, a failure of the model API too."""
        ...

    def refused(self, sent: Sent, refusal: Refusal) -> None:
        """A gateway refused it: the model API never saw it."""
        ...

    def class_of(self, sent: Sent) -> str | None:
        """The class of the customer whose it is, None of an operator."""
        ...


@dataclass(slots=True)
class Sent:
    """A request under way, made together with the answer that it gets if it is served.

    `account` is the number of its account, `attempt` how often the content was tried before;
    `failed_s`: when the model API's failure is known to the caller, None where it answers.
    """

    request: LoggedRequest
    campaign: str | None
    sender: Sender
    account: int
    conversation: Conversation
    body: bytes
    attempt: int
    was_refused: bool
    at_s: float
    failed_s: float | None
    before: BeforeAnswer


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
        self,
        conv: Conversation,
        at_s: float,
        body: bytes,
        *,
        sender: Sender,
        account: int,
        account_id: str,
        campaign: str | None = None,
        tries: int = 0,
        attempt: int = 0,
        was_refused: bool = False,
    ) -> Sent:
        """Send `body` for `conv`, with its key and address. `tries` is what anybody has tried
        before, `attempt` what this client counts in its headers."""
        rng, app, client = self.rng, conv.app, conv.client
        self.last_kind = app.kind.name
        before = conv.before_answer()
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
        return Sent(
            request,
            campaign,
            sender,
            account,
            conv,
            body,
            tries,
            was_refused,
            at_s,
            conv.ready_s if failed else None,
            before,
        )

    def resend(
        self,
        at_s: float,
        *,
        actor: int,
        account: int,
        conversation: Conversation,
        body: bytes,
        attempt: int,
        was_refused: bool = False,
    ) -> None:
        """Have `body` sent again at `at_s`; ties go in the order in which they were asked for."""
        self._number += 1
        again = Later(at_s, self._number, actor, account, conversation, body, attempt, was_refused)
        heapq.heappush(self.later, again)

    def overhear(self, passage: bytes) -> None:
        """A passage of somebody's answer becomes public: in a post, a wiki, a chat."""
        if len(self.public) < MAX_PUBLIC:
            self.public.append(passage)
        else:
            self.public[int(self.rng.random() * MAX_PUBLIC)] = passage
