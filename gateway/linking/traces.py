"""What the linker needs to know of each exchange to join two of them: traces, as keyed hashes.

A trace is no evidence of its own and never enters the graph: `relay` joins what was issued or
refused to one account with what another brings. Traces travel as keys of reserved families.

    talk      which conversation a request goes on with (its first question)
    returned  an artefact in the last assistant turn of its history
    asked     the content of a request (of a long one its end, and a part of the rest)
    issued    an artefact in an answer
    refused   the content of a request that was refused, by us or by the model API
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from msgspec import Raw, Struct

from ..core.keyed import KeyedHash
from .answers import issued_in, issued_in_stream
from .artefacts import chained_in, returned_in
from .evidence import HASH_DIGITS, Key, LinkingKeys, Sight
from .opening import Members
from .retries import Retries, content_of, mark_of

TALK, RETURNED, ASKED, ISSUED, REFUSED = "talk", "returned", "asked", "issued", "refused"
TRACES = frozenset({TALK, RETURNED, ASKED, ISSUED, REFUSED})
REFUSALS = frozenset({403, 408, 429, 500, 502, 503, 504, 529})
CONTENT_BYTES = 65_536  # of longer ones the end is what counts, and the length
WHOLE_BYTES = 2_048  # of longer ones every `STRIDE`th byte counts, and each of the last `END_BYTES`
END_BYTES, STRIDE = 1_024, 8
_PURPOSES = {TALK: "talk", RETURNED: "artefact", ISSUED: "artefact", ASKED: "asked"}
_PURPOSES[REFUSED] = "asked"


class Asked(Struct, array_like=True, gc=False):
    """What was asked, as the linker and as `Retries` compare it; empty where nobody wants it."""

    values: list[str] = []
    mark: int = 0


class Tracer:
    """Reads traces; of families that are switched off none. One per process: it knows retries."""

    def __init__(self, keys: LinkingKeys | KeyedHash, enabled: Iterable[str] | None = None) -> None:
        """`enabled` None: provenance and echo."""
        wanted = {"provenance", "echo"} if enabled is None else set(enabled)
        self.follows_answers = "provenance" in wanted
        self.follows_refusals = "echo" in wanted
        self.is_needed = self.follows_answers or self.follows_refusals
        self._epochs = keys if isinstance(keys, LinkingKeys) else LinkingKeys(keys)
        self.retries = Retries()

    def of_request(self, sight: Sight) -> list[Key]:
        members, opening = sight.members, sight.opening
        found: list[Key] = []
        if self.follows_answers:
            if opening.is_first:
                returned = chained_in(members)
            else:
                returned = returned_in(members, opening.entries)
            if returned:
                talk = blake2b(opening.question, digest_size=16).hexdigest()
                found = self._given(TALK, [talk]) + self._brought(RETURNED, returned)
        if self.follows_refusals:
            self.retries.ask(sight.subject.account_id, mark_of(members), sight.at_us)
            found += self._brought(ASKED, _content_of(members))
        return found

    def of_passed_over(self, account_id: str, members: Members, at_us: int) -> list[Key]:
        """Of a request that is not looked at: what it asks, where somebody was refused that."""
        if not self.follows_refusals:
            return []
        is_retry = self.retries.ask(account_id, mark_of(members), at_us)
        return self._brought(ASKED, _content_of(members)) if is_retry else []

    def of_answer(self, raw: bytes | Raw) -> list[Key]:
        return self._given(ISSUED, issued_in(raw)) if self.follows_answers else []

    def of_stream(self, raw: bytes) -> list[Key]:
        return self._given(ISSUED, issued_in_stream(raw)) if self.follows_answers else []

    def asked_in(self, members: Members) -> Asked:
        if not self.follows_refusals:
            return Asked()
        refused = self._given(REFUSED, _content_of(members))
        return Asked([key.value for key in refused], mark_of(members))

    def of_refusal(self, account_id: str, asked: Asked, at_us: int) -> list[Key]:
        """The account was refused it, at that time."""
        self.retries.refuse(account_id, asked.mark, at_us)
        return [Key(REFUSED, value) for value in asked.values]

    def _given(self, trace: str, texts: Iterable[str]) -> list[Key]:
        value, purpose = self._epochs.current.value, _PURPOSES[trace]
        return [Key(trace, value(purpose, text)[:HASH_DIGITS]) for text in texts]

    def _brought(self, trace: str, texts: Iterable[str]) -> list[Key]:
        """It may have been given under the key before."""
        previous = self._epochs.previous
        if previous is None:
            return self._given(trace, texts)
        purpose, epochs = _PURPOSES[trace], (self._epochs.current, previous)
        return [
            Key(trace, keyed.value(purpose, text)[:HASH_DIGITS])
            for text in texts
            for keyed in epochs
        ]


def _content_of(members: Members) -> list[str]:
    """One hash of what is asked; none for what is so short that many ask it. Of what is long it
    takes in a part (docs/adr/0026)."""
    raw = content_of(members)
    if raw is None:
        return []
    part: bytes | memoryview | Raw = raw
    if len(raw) > WHOLE_BYTES:
        late = bytes(memoryview(raw)[-CONTENT_BYTES:])
        part = late[:-END_BYTES:STRIDE] + late[-END_BYTES:]
    digest = blake2b(part, digest_size=16).hexdigest()
    return [f"{len(raw)}:{digest}"]
