"""The linker inside a replay: the same evidence at the same instants as live, on event time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec

from ..core.keyed import KeyedHash
from ..linking.evidence import Extractor, Key, Sight
from ..linking.exempt import is_exempt
from ..linking.linker import Evidence, Linker, LinkerSettings, Publication
from ..linking.opening import NO_OPENING, read_opening
from ..linking.traces import REFUSALS, REFUSED, Tracer
from ..model import SECOND_US, Decision, RequestFacts, Subject
from ..ports import Directory
from .traffic import LoggedResponse, TrafficLine, head_of

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class LinkingHook:
    """A `ReplayHook` that links."""

    def __init__(
        self,
        keyed: KeyedHash,
        *,
        families: Iterable[str] | None = None,
        settings: LinkerSettings | None = None,
    ) -> None:
        self.pairs = 0
        self._settings = settings
        self._extractor = Extractor(keyed, families)
        self._tracer = Tracer(keyed, families)
        self._refused: dict[int, list[Key]] = {}  # what the model API is about to refuse, by line
        self._linker = Linker(settings)

    def on_request(
        self, number: int, now_us: int, line: TrafficLine, facts: RequestFacts, decision: Decision
    ) -> None:
        subject = decision.subject
        if subject is None or subject.pseudonym is None:
            return  # unknown credentials have no account that could be linked
        keys: list[Key] = []
        if self._extractor.wants(subject):
            sight = _sight(now_us, line, facts, subject)
            keys = self._extractor.new_keys(sight) + self._tracer.of_request(
                sight.members, sight.opening
            )
        else:
            self._extractor.pass_over(subject)
        if self._tracer.follows_refusals:
            keys += self._refusal(number, line, decision)
        self._tell(subject, now_us, keys)

    def _refusal(self, number: int, line: TrafficLine, decision: Decision) -> list[Key]:
        """Of a request that we refuse; what the model API refuses is told with its answer."""
        status = decision.status if line.response is None else line.response.status
        if decision.is_served and status not in REFUSALS:
            return []
        keys = self._tracer.of_refusal(_members_of(line))
        if not decision.is_served:
            return keys
        if line.response is not None:
            self._refused[number] = keys
        return []

    def on_response(
        self, number: int, now_us: int, decision: Decision, response: LoggedResponse
    ) -> None:
        subject = decision.subject
        if subject is None or subject.pseudonym is None:
            return
        if response.status < 400:
            self._tell(subject, now_us, self._tracer.of_answer(response.body))
        elif number in self._refused:
            self._tell(subject, now_us, self._refused.pop(number))

    def _tell(self, subject: Subject, now_us: int, keys: list[Key]) -> None:
        if keys:
            self.pairs += len(keys)
            self._linker.observe(
                Evidence(
                    subject.account_id,
                    now_us,
                    tuple(keys),
                    is_exempt(subject),
                    subject.created_us,
                )
            )

    async def on_tick(self, now_us: int, directory: Directory) -> None:
        for said in self._linker.tick(now_us):
            stored = await directory.get(said.account_id)
            if stored is not None:
                await directory.put(published(stored, said), None)

    def clusters(self) -> Iterable[Mapping[str, Any]]:
        for view in self._linker.clusters():
            yield {
                "cluster_id": view.cluster_id,
                "state": view.state,
                "accounts": list(view.accounts),
                "first_seen": view.first_seen_us / SECOND_US,
                "suspected": None if view.suspected_us is None else view.suspected_us / SECOND_US,
                "score": view.score,
                "families": dict(view.families),
                "why": list(view.why),
            }

    def snapshot(self) -> bytes:
        waiting = {number: [one.value for one in keys] for number, keys in self._refused.items()}
        return msgspec.msgpack.encode((self._linker.snapshot(), self._extractor.counts(), waiting))

    def restore(self, state: bytes) -> None:
        """What accounts have shown is told again, which changes nothing."""
        linker, counts, waiting = msgspec.msgpack.decode(
            state, type=tuple[bytes, dict[str, tuple[int, int]], dict[int, list[str]]]
        )
        self._linker = Linker.restore(linker, self._settings)
        self._extractor.recount(counts)
        self._refused = {
            number: [Key(REFUSED, value) for value in values] for number, values in waiting.items()
        }


def published(subject: Subject, said: Publication) -> Subject:
    """The subject with what the linker says of it, and nothing else changed."""
    return replace(
        subject,
        cluster_id=said.cluster_id,
        cluster_state=said.state,
        cluster_size=said.size,
        cluster_since_us=said.since_us,
        suspicion=said.suspicion,
    )


def _members_of(line: TrafficLine) -> Mapping[str, memoryview]:
    """Empty where none is kept, or the request was refused for it."""
    with suppress(msgspec.MsgspecError):
        return {name: memoryview(raw) for name, raw in _members.decode(line.body).items()}
    return {}


def _sight(now_us: int, line: TrafficLine, facts: RequestFacts, subject: Subject) -> Sight:
    members = _members_of(line)
    opening = read_opening(members) if members else NO_OPENING
    _, plan, _ = head_of(line.headers)
    return Sight(now_us, facts, subject, members, opening, tuple(plan.last))
