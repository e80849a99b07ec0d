"""What evidence costs each request, and what an exchange's new pairs cost the linker's process.

Run: python -m hydragate.loadtests.bench_evidence. CPU time of this process, medians of rounds, over
accounts at every stage of being known. Requests have the size of their kind in CONTRACTS: a system
prompt, a question, sampling parameters; answers are of 1 KB. Three columns, by when it is spent:
*before* the upstream call (which the caller waits for), *meanwhile* (all that is read of the
request, in a later turn of the loop), and *after* the caller has the answer (what is read of it).
Below it, what is read of the same answer where it was streamed, in events of five characters.

With `--scenario FILE` another question is asked: what the mean exchange of that world costs, its
busy accounts and its seldom ones, its histories and its answers as they are. It is replayed (one
day, unless `--days` says else) with a tap in the linker's place and nobody behind it.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import click

from ..adapters.body import read_body
from ..adapters.evidence import EvidenceTap
from ..app import SystemClock
from ..commands.replay_inputs import Asked
from ..core.keyed import KeyedHash
from ..linking.evidence import Extractor
from ..linking.linker import Evidence, Linker
from ..linking.traces import Tracer
from ..model import RequestFacts, Subject
from ..ports import Directory
from ..stores.stream import Message, _encode, _record, evidence_of, read_message
from ..workers.linking_hook import LinkingHook
from ..workers.replay import REPLAY_SECRET
from ..workers.replay_hook import ReplayedRequest
from ..workers.traffic import LoggedResponse
from .listened import listen

POLICY = Path(__file__).resolve().parents[1] / "policies" / "enforce"
ROUNDS = 7
ACCOUNTS = 400
NAMES = (
    *(b"host", b"accept", b"authorization", b"content-type", b"content-length", b"user-agent"),
    *(b"x-stainless-lang", b"x-stainless-os", b"x-stainless-arch", b"x-stainless-runtime"),
)
HEADERS = [(name, b"value") for name in NAMES]
SUBJECTS = [
    Subject(f"acc_{n}", version=1, payment=f"{n:032x}", email_domain=f"d{n}.example.org")
    for n in range(ACCOUNTS)
]


def body_of(account: int, request: int, filler_bytes: int) -> bytes:
    question = f"Request {request} of account {account}: summarise, in nine words, what follows. "
    text = question + "It was a day like any other in the office. " * (filler_bytes // 43)
    return (
        '{"model":"m","temperature":0.2,"top_p":0.9,"max_tokens":100,"messages":['
        f'{{"role":"system","content":"You are the helper number {account} of a small shop."}},'
        f'{{"role":"user","content":"{text}"}}]}}'
    ).encode()


def requests_of(
    per_account: int, filler_bytes: int
) -> Iterator[tuple[RequestFacts, Subject, bytes]]:
    facts = RequestFacts(
        *("d" * 26, 0, "proxy", "POST", "/v1/chat/completions", "openai.chat", "openai", True),
        credential="c" * 32,
        user_agent="OpenAI/Python 2.0.0",
    )
    for request in range(per_account):
        for account, subject in enumerate(SUBJECTS):
            body = body_of(account, request, filler_bytes)
            network = f"{account:028x}{request % 2:04x}"
            one = replace(facts, received_us=request, client_network=network, body_bytes=len(body))
            yield one, subject, body


def answer_of(number: int) -> bytes:
    text = "".join(
        f"Sentence {n} of answer {number} says nothing that matters. " for n in range(18)
    )
    return (
        f'{{"id":"chatcmpl-{number:024x}","object":"chat.completion","model":"m","choices":[{{"index"'
        f':0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":'
        '{"prompt_tokens":300,"completion_tokens":180,"total_tokens":480}}'
    ).encode()


STREAMS: dict[str, Callable[[str], dict[str, Any]]] = {
    "chat": lambda text: {
        **{"id": f"chatcmpl-{7:024x}", "object": "chat.completion.chunk", "created": 1_776_816_000},
        **{"model": "m", "choices": [{"index": 0, "delta": {"content": text}, "logprobs": None}]},
    },
    "messages": lambda text: {
        **{"type": "content_block_delta", "index": 0},
        "delta": {"type": "text_delta", "text": text},
    },
    "responses": lambda text: {
        **{"type": "response.output_text.delta", "item_id": f"msg_{7:032x}", "output_index": 0},
        "delta": text,
    },
}


def stream_of(dialect: str) -> bytes:
    text = json.loads(answer_of(7))["choices"][0]["message"]["content"]
    pieces = [text[at : at + 5] for at in range(0, len(text), 5)]
    message = {"role": "assistant", "content": [{"type": "output_text", "text": text}]}
    last = {"type": "response.completed", "response": {"id": f"resp_{7:032x}", "output": [message]}}
    sent = [STREAMS[dialect](piece) for piece in pieces]
    sent += [last] if dialect == "responses" else [{"type": "content_block_stop"}]
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in sent)


def measure_stream(dialect: str) -> float:
    """CPU us that reading one takes."""
    raw, tracer = stream_of(dialect), Tracer(KeyedHash(b"a secret for streams"))

    def read_all() -> int:
        for _ in range(ACCOUNTS):
            tracer.of_stream(raw)
        return ACCOUNTS

    return median(cpu_us(read_all) for _ in range(ROUNDS))


def cpu_us(run: Callable[[], int]) -> float:
    """CPU microseconds for each of what `run` counts."""
    started_ns = time.process_time_ns()
    count = run()
    return (time.process_time_ns() - started_ns) / 1000 / count


def measure_live(
    per_account: int, filler_bytes: int
) -> tuple[tuple[float, float, float], float, list[Evidence]]:
    """(CPU us a request: before, meanwhile, after; new pairs of it; what was offered of all)"""
    feed = [
        (facts, subject, read_body(body, "chat").members)
        for facts, subject, body in requests_of(per_account, filler_bytes)
    ]
    answers = [answer_of(number) for number in range(len(feed))]
    samples: list[tuple[float, float, float]] = []
    pairs = 0
    offered: list[Evidence] = []
    for number in range(ROUNDS):
        offered = []
        keyed = KeyedHash(b"a secret %d for this round" % number)
        tap = EvidenceTap(Extractor(keyed), Tracer(keyed), offered.append, clock=SystemClock())

        def make_room(tap: EvidenceTap = tap) -> int:
            for facts, subject, _ in feed:
                tap.room_for(facts, subject)
            return len(feed)

        def see_all(tap: EvidenceTap = tap) -> int:
            for facts, subject, members in feed:
                tap.see(facts, subject, members, HEADERS)
            return len(feed)

        def see_answers(tap: EvidenceTap = tap) -> int:
            for (facts, subject, _), answer in zip(feed, answers, strict=True):
                tap.see_answer(facts, subject, answer)
            return len(feed)

        before, meanwhile = cpu_us(make_room), cpu_us(see_all)
        pairs = sum(len(one.keys) for one in offered)
        samples.append((before, meanwhile, cpu_us(see_answers)))
    before, meanwhile, after = map(median, zip(*samples, strict=True))
    return (before, meanwhile, after), pairs / len(feed), offered


def measure_intake(offered: list[Evidence]) -> tuple[float, float, float]:
    """CPU us a pair: (packing in the worker, reading, observing in the linker)."""
    pairs = sum(len(one.keys) for one in offered)
    messages: list[bytes] = []

    def pack_all() -> int:
        for start in range(0, len(offered), 32):
            records = [_record(one) for one in offered[start : start + 32]]
            messages.append(_encode(Message("s", start, records)))
        return pairs

    found: list[Evidence] = []

    def read_all() -> int:
        for packed in messages:
            message = read_message(packed)
            if message is not None:
                found.extend(evidence_of(message))
        return pairs

    linker = Linker()

    def observe_all() -> int:
        for one in found:
            linker.observe(one)
        return pairs

    return cpu_us(pack_all), cpu_us(read_all), cpu_us(observe_all)


class _Meter(LinkingHook):
    """Reads evidence as a linker's hook does, tells nobody, and counts CPU time."""

    def __init__(self) -> None:
        super().__init__(KeyedHash(REPLAY_SECRET))
        self.requests = self.answers = 0
        self.request_ns = self.answer_ns = 0
        self.accounts = set[str]()

    def on_request(self, asked: ReplayedRequest) -> None:
        subject = asked.decision.subject
        if subject is not None:
            self.accounts.add(subject.account_id)
        started_ns = time.thread_time_ns()
        super().on_request(asked)
        self.request_ns += time.thread_time_ns() - started_ns
        self.requests += 1

    def on_response(
        self, number: int, now_us: int, facts: RequestFacts, response: LoggedResponse
    ) -> None:
        started_ns = time.thread_time_ns()
        super().on_response(number, now_us, facts, response)
        self.answer_ns += time.thread_time_ns() - started_ns
        self.answers += 1

    def observe(self, evidence: Evidence) -> None:
        """Nobody listens."""

    async def on_tick(self, now_us: int, directory: Directory) -> None:
        """Nothing to tell."""


async def measure_scenario(scenario: Path, days: float) -> str:
    """What the mean exchange of it costs, in words."""
    meter = _Meter()
    with tempfile.TemporaryDirectory() as out:
        asked = Asked(None, None, None, scenario, days=days)
        await listen(asked, POLICY, Path(out), meter)
    request_us, answer_us = (
        spent_ns / 1000 / max(1, meter.requests) for spent_ns in (meter.request_ns, meter.answer_ns)
    )
    return (
        f"{scenario.stem}, {days:g} days: {meter.requests:,} requests of {len(meter.accounts):,} "
        f"accounts, {meter.answers:,} answers: CPU us a request {request_us:.1f}, and "
        f"{answer_us:.1f} for its answer: {request_us + answer_us:.1f}"
    )


@click.command()
@click.option("--scenario", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--days",
    type=click.FloatRange(min=0.01),
    default=1.0,
    show_default=True,
    help="Of the scenario.",
)
def main(scenario: Path | None, days: float) -> None:
    """Measure what evidence costs the hot path."""
    if scenario is not None:
        print(asyncio.run(measure_scenario(scenario, days)))
        return
    print("| requests of an account | body | CPU us: before | meanwhile | after | new pairs |")
    print("|---|---|---|---|---|---|")
    offered: list[Evidence] = []
    for per_account, filler_bytes in ((1, 1_000), (10, 1_000), (100, 1_000), (10, 20_000)):
        cost_us, pairs, told = measure_live(per_account, filler_bytes)
        offered = offered or told
        columns = " | ".join(f"{us:.1f}" for us in cost_us)
        print(f"| {per_account} | {filler_bytes:,} B | {columns} | {pairs:.2f} |")
    streams = ", ".join(f"{name} {measure_stream(name):.0f}" for name in STREAMS)
    print(f"\nan answer that was streamed, CPU us: {streams}")
    packing, reading, observing = measure_intake(offered)
    print(
        f"\na pair: {packing:.2f} us to pack, {reading:.2f} to read, {observing:.2f} to observe: "
        f"{1e6 / (reading + observing):,.0f} pairs/s and core in the linker, ticks aside"
    )


if __name__ == "__main__":
    main()
