"""The linker inside a replay: the same evidence at the same instants as live, on event time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec

from ..core.keyed import KeyedHash
from ..linking.evidence import Extractor, Sight
from ..linking.exempt import is_exempt
from ..linking.linker import Evidence, Linker, LinkerSettings, Publication
from ..linking.opening import NO_OPENING, read_opening
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
        self._linker = Linker(settings)

    def on_request(
        self, number: int, now_us: int, line: TrafficLine, facts: RequestFacts, decision: Decision
    ) -> None:
        subject = decision.subject
        if subject is None or subject.pseudonym is None:
            return  # unknown credentials have no account that could be linked
        if not self._extractor.wants(subject):
            self._extractor.pass_over(subject)
            return
        keys = self._extractor.new_keys(_sight(now_us, line, facts, subject))
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

    def on_response(
        self, number: int, now_us: int, facts: RequestFacts, response: LoggedResponse
    ) -> None:
        """Provenance of answers is not evidence yet."""

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
        return self._linker.snapshot()

    def restore(self, state: bytes) -> None:
        """What accounts have shown is told again, which changes nothing."""
        self._linker = Linker.restore(state, self._settings)


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


def _sight(now_us: int, line: TrafficLine, facts: RequestFacts, subject: Subject) -> Sight:
    members: Mapping[str, memoryview] = {}
    with suppress(msgspec.MsgspecError):  # none is kept, or the request was refused for it
        members = {name: memoryview(raw) for name, raw in _members.decode(line.body).items()}
    opening = read_opening(members) if members else NO_OPENING
    plan, _ = head_of(line.headers)
    return Sight(now_us, facts, subject, members, opening, tuple(plan.last))
