"""The linker inside a replay: the same evidence at the same instants as live, on event time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from ..core.keyed import KeyedHash
from ..core.sub_users import parts_of
from ..linking.answers import is_an_answer
from ..linking.evidence import Extractor, Key, Sight
from ..linking.exempt import is_exempt
from ..linking.linker import Evidence, Linker, LinkerSettings
from ..linking.opening import NO_OPENING, Members, read_opening
from ..linking.retries import Remembered
from ..linking.sub_users import Doorkeeper, Kept, relinked
from ..linking.traces import REFUSALS, Asked, Tracer
from ..model import SECOND_US, RequestFacts, Subject
from ..ports import Directory
from .replay_hook import ReplayedRequest
from .traffic import LoggedResponse, head_of

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Awaited(msgspec.Struct, array_like=True, gc=False):
    """An answer that is under way; `refused` is what was asked, where it will be a refusal."""

    account_id: str
    created_us: int | None
    refused: Asked | None


_Snapshot = tuple[bytes, dict[str, tuple[int, int]], dict[int, Awaited], Kept, Remembered]


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
        self._door = Doorkeeper()
        self._awaited: dict[int, Awaited] = {}  # by line
        self._linker = Linker(settings)

    def on_request(self, asked: ReplayedRequest) -> None:
        decided = asked.decision.subject
        if decided is None or decided.pseudonym is None:
            return  # unknown credentials have no account that could be linked
        subject, now_us = self._door.meet(asked.facts, decided), asked.now_us
        if subject is None:
            return
        keys: list[Key]
        if self._extractor.wants(subject):
            sight = _sight(asked, subject)
            keys = self._extractor.new_keys(sight)
            keys += self._tracer.of_request(sight)
        else:
            keys = self._extractor.pass_over(subject, now_us)
            if not is_exempt(subject):
                members = asked.body.members
                keys += self._tracer.of_passed_over(subject.account_id, members, now_us)
        if not asked.decision.is_served:
            what = self._tracer.asked_in(_members_of(asked))
            keys += self._tracer.of_refusal(subject.account_id, what, now_us)
        elif asked.line.response is not None:
            self._await(asked, subject, asked.line.response)
        self._tell(subject.account_id, now_us, keys, is_exempt(subject), subject.created_us)

    def _await(self, asked: ReplayedRequest, subject: Subject, response: LoggedResponse) -> None:
        """Remember whose the answer is; where the model API refuses, what was asked. What will
        tell nothing is not waited for."""
        is_refusal = response.status in REFUSALS
        if not (is_refusal or is_an_answer(response.body)):
            return
        if not self._tracer.is_needed or is_exempt(subject):
            return
        refused = self._tracer.asked_in(_members_of(asked)) if is_refusal else None
        self._awaited[asked.number] = Awaited(subject.account_id, subject.created_us, refused)

    def on_response(
        self, number: int, now_us: int, facts: RequestFacts, response: LoggedResponse
    ) -> None:
        awaited = self._awaited.pop(number, None)
        if awaited is None:
            return
        if response.status < 400:
            keys = self._tracer.of_answer(response.body)
        elif awaited.refused is not None:
            keys = self._tracer.of_refusal(awaited.account_id, awaited.refused, now_us)
        else:
            keys = []
        self._tell(awaited.account_id, now_us, keys, False, awaited.created_us)

    def _tell(
        self,
        account_id: str,
        now_us: int,
        keys: list[Key],
        exempt: bool,
        created_us: int | None,
    ) -> None:
        if keys:
            self.pairs += len(keys)
            self.observe(Evidence(account_id, now_us, tuple(keys), exempt, created_us))

    def observe(self, evidence: Evidence) -> None:
        """What one exchange showed, to the linker."""
        self._linker.observe(evidence)

    async def on_tick(self, now_us: int, directory: Directory) -> None:
        for said in self._linker.tick(now_us):
            stored = await directory.get(parts_of(said.account_id)[0])
            if stored is not None:
                await directory.put(relinked(stored, said), None)

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
        counts, retries = self._extractor.counts(), self._tracer.retries.pack()
        return msgspec.msgpack.encode(
            (self._linker.snapshot(), counts, self._awaited, self._door.pack(), retries)
        )

    def restore(self, state: bytes) -> None:
        """What accounts have shown is told again, which changes nothing."""
        linker, counts, self._awaited, door, retries = msgspec.msgpack.decode(state, type=_Snapshot)
        self._tracer.retries.restore(retries)
        self._door = Doorkeeper.unpack(door)
        self._linker = Linker.restore(linker, self._settings)
        self._extractor.recount(counts)


def _members_of(asked: ReplayedRequest) -> Members:
    """Empty where none is kept. Of a path that is not known nobody has read the body."""
    if asked.body.members:
        return asked.body.members
    with suppress(msgspec.MsgspecError):
        return _members.decode(asked.line.body)
    return {}


def _sight(asked: ReplayedRequest, subject: Subject) -> Sight:
    members = _members_of(asked)
    opening = read_opening(members) if members else NO_OPENING
    plan, _ = head_of(asked.line.headers)
    return Sight(asked.now_us, asked.facts, subject, members, opening, tuple(plan.last))
