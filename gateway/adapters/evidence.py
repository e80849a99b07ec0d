"""From requests on the live path to evidence for the linker, off their critical path.

The guard hands a request over once it is decided; it is looked at in a later turn of the loop,
while the model API works on it, and its body's members are let go. Provisional callers are left
out: a credential that nobody has accepted could be made up by the million.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from ..linking.evidence import Extractor, Sight
from ..linking.exempt import is_exempt
from ..linking.linker import Evidence
from ..linking.opening import NO_OPENING, read_opening
from ..model import RequestFacts, Status, Subject
from .header_plan import CREDENTIAL_HEADERS

log = logging.getLogger("hydragate.linking")

MAX_OPENED_BYTES = 1 << 20  # of a body; how a larger one begins is not looked at
MAX_COMPLAINTS = 5
_OF_THE_CALL = CREDENTIAL_HEADERS | {b"cookie", b"content-length"}

Members = Mapping[str, bytes | memoryview]
Headers = list[tuple[bytes, bytes]]


class Witness(Protocol):
    """Sees each decided request whose body was read. Must not block or raise."""

    def see(
        self, facts: RequestFacts, subject: Subject | None, members: Members, headers: Headers
    ) -> None: ...


class EvidenceTap:
    """A `Witness` that offers what is new to the linker. `failures` counts requests that could
    not be looked at."""

    def __init__(self, extractor: Extractor, offer: Callable[[Evidence], None]) -> None:
        self.failures = 0
        self._extractor = extractor
        self._offer = offer

    def see(
        self, facts: RequestFacts, subject: Subject | None, members: Members, headers: Headers
    ) -> None:
        if subject is None or subject.status is Status.PROVISIONAL or facts.credential is None:
            return
        try:
            self._see(facts, subject, members, headers)
        except Exception:  # evidence must never cost anybody an answer
            self.failures += 1
            if self.failures <= MAX_COMPLAINTS:
                log.exception("a request could not be looked at")

    def _see(
        self, facts: RequestFacts, subject: Subject, members: Members, headers: Headers
    ) -> None:
        if not self._extractor.wants(subject):
            self._extractor.pass_over(subject)
            return
        views = {name: memoryview(raw) for name, raw in members.items()}
        is_short = facts.body_bytes <= MAX_OPENED_BYTES
        sight = Sight(
            facts.received_us,
            facts,
            subject,
            members=views,
            opening=read_opening(views) if is_short else NO_OPENING,
            header_names=tuple([name for name, _ in headers if name not in _OF_THE_CALL]),
        )
        keys = self._extractor.new_keys(sight)
        if keys:
            self._offer(
                Evidence(
                    subject.account_id,
                    facts.received_us,
                    tuple(keys),
                    is_exempt(subject),
                    subject.created_us,
                )
            )
