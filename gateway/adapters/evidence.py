"""From requests on the live path to evidence for the linker, off their critical path.

The guard hands a request over once it is decided; it is looked at in a later turn of the loop,
while the model API works on it, and its body's members are let go. Answers pass untouched: a
copy is looked at when the caller has everything. Provisional callers are left
out: a credential that nobody has accepted could be made up by the million.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import msgspec

from ..linking.evidence import Extractor, Key, Sight
from ..linking.exempt import is_exempt
from ..linking.linker import Evidence
from ..linking.opening import NO_OPENING, Members, read_opening
from ..linking.sub_users import Doorkeeper
from ..linking.traces import Tracer
from ..model import RequestFacts, Status, Subject
from ..ports import Clock
from .answer_copy import CopyRoom
from .header_plan import CREDENTIAL_HEADERS

log = logging.getLogger("hydragate.linking")

MAX_OPENED_BYTES = 1 << 20  # of a body; how a larger one begins is not looked at
MAX_COMPLAINTS = 5
_OF_THE_CALL = CREDENTIAL_HEADERS | {b"cookie", b"content-length"}

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])

Headers = list[tuple[bytes, bytes]]


class Witness(Protocol):
    """Sees each decided request whose body was read, and what became of it. Must not block or
    raise."""

    def see(
        self, facts: RequestFacts, subject: Subject | None, members: Members, headers: Headers
    ) -> None: ...

    def see_refusal(
        self, facts: RequestFacts, subject: Subject | None, members: Members
    ) -> None: ...

    def see_failure(self, facts: RequestFacts, subject: Subject | None, body: bytes) -> None:
        """The model API refused or failed what was asked in `body`."""
        ...

    def room_for(self, facts: RequestFacts, subject: Subject | None) -> CopyRoom | None:
        """Where to keep a copy of the answer; None where it need not be kept."""
        ...

    def see_answer(self, facts: RequestFacts, subject: Subject | None, raw: bytes) -> None: ...

    def see_stream(self, facts: RequestFacts, subject: Subject | None, raw: bytes) -> None: ...


class EvidenceTap:
    """A `Witness` that offers what is new to the linker. `failures` counts exchanges that could
    not be looked at."""

    def __init__(
        self,
        extractor: Extractor,
        tracer: Tracer,
        offer: Callable[[Evidence], None],
        *,
        clock: Clock,
    ) -> None:
        self.failures = 0
        self._extractor = extractor
        self._tracer = tracer
        self._offer = offer
        self._clock = clock
        self._room = CopyRoom()
        self._door = Doorkeeper()

    def see(
        self, facts: RequestFacts, subject: Subject | None, members: Members, headers: Headers
    ) -> None:
        if subject is None or not _is_known(facts, subject):
            return
        who = self._door.meet(facts, subject)
        if who is None:
            return
        at_us = facts.received_us
        if self._extractor.wants(who):
            self._tell(who, at_us, lambda: self._keys(facts, who, members, headers))
            return
        self._tell(who, at_us, lambda: self._passed_over(who, members, at_us))

    def see_refusal(self, facts: RequestFacts, subject: Subject | None, members: Members) -> None:
        who = self._who(facts, subject)
        if who is not None:
            self._tell(
                who, facts.received_us, lambda: self._refused(who, members, facts.received_us)
            )

    def see_failure(self, facts: RequestFacts, subject: Subject | None, body: bytes) -> None:
        who = self._traced(facts, subject)
        if who is not None:
            now_us = self._clock.now_us()
            self._tell(who, now_us, lambda: self._refused(who, _read(body), now_us))

    def room_for(self, facts: RequestFacts, subject: Subject | None) -> CopyRoom | None:
        if not facts.is_inference or not self._tracer.follows_answers:
            return None
        return self._room if self._traced(facts, subject) is not None else None

    def see_answer(self, facts: RequestFacts, subject: Subject | None, raw: bytes) -> None:
        who = self._who(facts, subject)
        if who is not None:
            self._tell(who, self._clock.now_us(), lambda: self._tracer.of_answer(raw))

    def see_stream(self, facts: RequestFacts, subject: Subject | None, raw: bytes) -> None:
        who = self._who(facts, subject)
        if who is not None:
            self._tell(who, self._clock.now_us(), lambda: self._tracer.of_stream(raw))

    def _who(self, facts: RequestFacts, subject: Subject | None) -> Subject | None:
        """The account, or the user it names; None for whoever is not known (yet)."""
        if subject is None or not _is_known(facts, subject):
            return None
        return self._door.known(facts, subject)

    def _traced(self, facts: RequestFacts, subject: Subject | None) -> Subject | None:
        if not self._tracer.is_needed:
            return None
        who = self._who(facts, subject)
        return None if who is None or is_exempt(who) else who

    def _keys(
        self, facts: RequestFacts, subject: Subject, members: Members, headers: Headers
    ) -> list[Key]:
        is_short = facts.body_bytes <= MAX_OPENED_BYTES
        sight = Sight(
            facts.received_us,
            facts,
            subject,
            members=members,
            opening=read_opening(members) if is_short else NO_OPENING,
            header_names=tuple([name for name, _ in headers if name not in _OF_THE_CALL]),
        )
        keys = self._extractor.new_keys(sight)
        if is_short and self._tracer.is_needed and not is_exempt(subject):
            keys += self._tracer.of_request(sight)
        return keys

    def _passed_over(self, subject: Subject, members: Members, at_us: int) -> list[Key]:
        keys = self._extractor.pass_over(subject, at_us)
        if self._tracer.is_needed and not is_exempt(subject):
            keys += self._tracer.of_passed_over(subject.account_id, members, at_us)
        return keys

    def _refused(self, subject: Subject, members: Members, at_us: int) -> list[Key]:
        return self._tracer.of_refusal(subject.account_id, self._tracer.asked_in(members), at_us)

    def _tell(self, subject: Subject, at_us: int, read: Callable[[], list[Key]]) -> None:
        """Offer what `read` finds; evidence must never cost anybody an answer."""
        try:
            keys = read()
            if keys:
                exempt = is_exempt(subject)
                self._offer(
                    Evidence(subject.account_id, at_us, tuple(keys), exempt, subject.created_us)
                )
        # Whatever it is: a dozen families read what a caller wrote, and an error that none of them
        # foresaw would end the exchange, or the task that feeds the linker.
        except Exception:
            self.failures += 1
            if self.failures <= MAX_COMPLAINTS:
                log.exception("a request could not be looked at")


def _is_known(facts: RequestFacts, subject: Subject) -> bool:
    return subject.status is not Status.PROVISIONAL and facts.credential is not None


def _read(body: bytes) -> Members:
    return _members.decode(body) if len(body) <= MAX_OPENED_BYTES else {}
