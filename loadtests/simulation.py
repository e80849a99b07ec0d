"""A closed loop: a world's exchanges one by one through the engine, each sender told what came of
it before the next is made.

Law: whoever decides learns what a live gateway learns and nothing else. Labels and reactions are on
the other side: they reach the replay as requests and as account events, as they would from outside.
The world is made in this process, since one that is made ahead could not react.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import msgspec
import orjson

from ..adapters.geo import GeoHolder
from ..classifiers.reader import TaskReader
from ..engine import PolicySource
from ..model import Decision, RequestFacts
from ..ports import Directory
from ..stores.memory import MemoryStore
from ..workers.replay_files import ReplayPlan, ReplayRun, Stop
from ..workers.replay_hook import ReplayedRequest, ReplayHook
from ..workers.traffic import LoggedResponse
from ..workers.world_feed import traffic_line
from .simulation_figures import figures_of
from .worlds.days import DAY_S
from .worlds.desk import Sent
from .worlds.facts import account_id
from .worlds.ledger import Ledger
from .worlds.output import describe, opened, write_lines
from .worlds.pools import AccountPool
from .worlds.reactions import MAX_BOUGHT, OperatorReactions, People
from .worlds.refusals import refusal_of
from .worlds.schema import RawScript
from .worlds.world import CAMPAIGN_CLASS, World

NAME = "simulation.json"
SUSPECTED = 0.5  # where suspicion begins
TRAFFIC_FILES = ("traffic.jsonl.zst", "accounts.jsonl", "line-labels.jsonl")
Progress = Callable[[int, float], None]
"""Told the exchanges so far and the share of the scenario's time, 0..1."""
_by_account = itemgetter("account_id")
_by_time = itemgetter("ts")


class ToldHook:
    """The linker's hook, listened to."""

    def __init__(self, inner: ReplayHook) -> None:
        self._decision: Decision | None = None
        self._inner = inner

    def take(self) -> Decision | None:
        """The decision on the latest request, once."""
        taken, self._decision = self._decision, None
        return taken

    def on_request(self, asked: ReplayedRequest) -> None:
        self._decision = asked.decision
        self._inner.on_request(asked)

    def on_response(
        self, number: int, now_us: int, facts: RequestFacts, response: LoggedResponse
    ) -> None:
        self._inner.on_response(number, now_us, facts, response)

    async def on_tick(self, now_us: int, directory: Directory) -> None:
        await self._inner.on_tick(now_us, directory)

    def clusters(self) -> Iterable[Mapping[str, Any]]:
        return self._inner.clusters()

    def snapshot(self) -> bytes:
        return self._inner.snapshot()

    def restore(self, state: bytes) -> None:
        self._inner.restore(state)


class Society:
    """Everybody who reacts, and the ledger of what came of it."""

    def __init__(self, world: World, script: RawScript) -> None:
        plan = world.plan
        self.ledger = Ledger(plan.start_s + plan.days * DAY_S)
        self.people = People(script, plan.seed, self.ledger)
        self._world = world
        self._operators = {
            pool.first: OperatorReactions(
                pool,
                pool.campaign.reacts,
                script,
                self.ledger,
                seed=plan.seed,
                first_bought=world.account_count + at * MAX_BOUGHT,
            )
            for at, pool in enumerate(world.pools)
        }

    def of(self, pool: AccountPool) -> OperatorReactions:
        return self._operators[pool.first]

    def bought_labels(self) -> Iterator[dict[str, Any]]:
        """As `World.labels` has them, of accounts made on the way."""
        seed = self._world.plan.seed
        found = []
        for pool in self._world.pools:
            for account, _ in self.of(pool).bought:
                label: dict[str, Any] = {
                    "account_id": account_id(seed, account),
                    "campaign": pool.campaign.id,
                    "class": CAMPAIGN_CLASS,
                }
                if pool.campaign.knobs.split > 1:
                    label["pool"] = str(pool.number)
                found.append(label)
        yield from sorted(found, key=_by_account)


class ClosedFeed:
    """A `Feed` of a world whose senders are told of each decision before the next line is made."""

    def __init__(
        self,
        world: World,
        society: Society,
        hook: ToldHook,
        policies: PolicySource,
        *,
        labels: IO[bytes] | None,
        traffic: IO[bytes] | None,
    ) -> None:
        self.name = world.plan.scenario.name
        self.run: ReplayRun | None = None  # that takes the lines, and hears of account events
        self.share = 0.0  # of the scenario's time that is over
        self.events: list[dict[str, Any]] = []  # that reactions led to
        self._world = world
        self._society = society
        self._hook = hook
        self._policies = policies
        self._labels = labels
        self._traffic = traffic

    def identity(self) -> dict[str, Any]:
        return {"kind": "closed"}

    def lines(self) -> Iterator[bytes]:
        """Each line is followed by what its sender does about its decision."""
        start_s, span_s = self._world.plan.start_s, self._world.plan.days * DAY_S
        society, number = self._society, 0
        world = self._world.run(self._world.desk(), people=society.people, operators=society.of)
        sent = next(world, None)
        while sent is not None:
            number += 1
            line = traffic_line(sent.request)
            yield line
            decision = self._hook.take()
            if decision is None:
                raise AssertionError(f"line {number} was never decided")
            refusal = refusal_of(decision, self._policies.current)
            group = sent.sender.class_of(sent)
            society.ledger.count(sent, refusal, group, is_suspected=_is_suspected(decision))
            if self._labels is not None and group is None:
                label = {"line": number, "campaign": sent.campaign}
                self._labels.write(orjson.dumps(label) + b"\n")
            if self._traffic is not None:
                self._traffic.write(line if refusal is None else _unanswered(sent))
            self.share = (sent.at_s - start_s) / span_s
            try:
                sent = world.send(refusal)
            except StopIteration:
                sent = None
            self._tell()

    def _tell(self) -> None:
        """Account events that came of reactions, to whoever decides."""
        if not self._society.ledger.new_events:
            return
        for event in self._society.ledger.take_events():
            self.events.append(event)
            if self.run is not None:
                self.run.add_event(event)


def _is_suspected(decision: Decision) -> bool:
    """Whether the account is in a cluster that is suspected by now."""
    suspicion = None if decision.subject is None else decision.subject.suspicion
    return suspicion is not None and suspicion >= SUSPECTED


def _unanswered(sent: Sent) -> bytes:
    return traffic_line(msgspec.structs.replace(sent.request, response=None))


@dataclass(frozen=True, slots=True)
class Simulation:
    """One run's parts. `keeps_traffic`: also what was sent, as a log that replay reads."""

    world: World
    script: RawScript
    out: Path
    policies: PolicySource
    hook: ReplayHook
    tasks: TaskReader | None = None
    geo: GeoHolder | None = None
    keeps_traffic: bool = False

    async def run(self, *, stop: Stop, on_progress: Progress | None = None) -> dict[str, Any]:
        """All files into `out`; what `simulation.json` says. That is written last: where it
        stands, the rest is whole.

        Raises InterruptedReplayError when it was told to stop, OSError where it cannot write.
        """
        world, out = self.world, self.out
        for name in (NAME, "summary.json", *TRAFFIC_FILES):
            (out / name).unlink(missing_ok=True)
        society, hook = Society(world, self.script), ToldHook(self.hook)
        with ExitStack() as files:
            labels = traffic = None
            if world.pools:
                labels = files.enter_context((out / "line-labels.jsonl").open("wb"))
            if self.keeps_traffic:
                write_lines(out / "accounts.jsonl", world.accounts())
                traffic = files.enter_context(opened(out / "traffic.jsonl.zst", "zst"))
            feed = ClosedFeed(world, society, hook, self.policies, labels=labels, traffic=traffic)
            run = feed.run = ReplayRun(self._plan(feed, hook), stop=stop)
            told = None if on_progress is None else lambda n: on_progress(n, feed.share)
            result = await run.run(on_progress=told)
        self._write_records(society, feed)
        found = {
            **describe(world),
            "reacts": {c.id: c.reacts.model_dump() for c in world.plan.campaigns},
            "script": self.script.model_dump(),
            "policy": result.summary["policy"],
            "exchanges": result.summary["exchanges"],
            "refused": result.summary["refused"],
            **figures_of(
                society.ledger,
                {campaign.id: campaign.reacts for campaign in world.plan.campaigns},
                self.script,
                self._labels(society),
            ),
        }
        (out / NAME).write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
        return found

    def _plan(self, feed: ClosedFeed, hook: ToldHook) -> ReplayPlan:
        world, name = self.world, feed.name
        return ReplayPlan(
            feed=feed,
            accounts=(f"{name} (accounts)", lambda: map(_line, world.accounts())),
            events=(f"{name} (events)", lambda: map(_line, world.events())),
            out=self.out,
            store=MemoryStore(),
            policies=self.policies,
            hook=hook,
            tasks=self.tasks,
            geo=self.geo,
            is_resumable=False,
        )

    def _write_records(self, society: Society, feed: ClosedFeed) -> None:
        """Labels and events as `hydragate generate` writes them, with those that reactions made."""
        write_lines(self.out / "labels.jsonl", self._labels(society))
        events = heapq.merge(self.world.events(), sorted(feed.events, key=_by_time), key=_by_time)
        write_lines(self.out / "events.jsonl", events)

    def _labels(self, society: Society) -> Iterator[dict[str, Any]]:
        return heapq.merge(self.world.labels(), society.bought_labels(), key=_by_account)


def _line(record: Mapping[str, Any]) -> bytes:
    return orjson.dumps(record) + b"\n"
