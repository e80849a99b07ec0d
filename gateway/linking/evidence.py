"""What one exchange shows that could link its account to others, as keyed hashes by family.

A family registers a reader that turns a `Sight` into values; `linking/__init__` imports its file,
which is what registers it. Values of families with the same innocent causes belong to one *block*:
agreement inside a block is one piece of evidence, and only agreement across blocks can lead to
enforcement (docs/adr/0008).

Law: a value is hashed under the operator's secret before it leaves here; no text, key or address
is kept. Law: the work of a reader is bounded whatever the request holds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from ..core.keyed import KeyedHash
from ..model import RequestFacts, Subject, record
from .instants import CLOSE_SLOT_US, HERE, TURN
from .opening import NO_OPENING, Members, Opening

HASH_DIGITS = 16
MAX_VALUES_PER_FAMILY = 8  # of one exchange; more are cut
LEAST_SHARING = 2


class Block(StrEnum):
    """Families that share innocent causes."""

    CONTENT = "content"
    ORIGIN = "origin"  # network and client
    FACTS = "facts"  # what the platform knows of the account
    TIMING = "timing"
    RELAY = "relay"  # provenance and echo


@record
class Sight:
    """One request as the families see it.

    `members` are the top-level values of the body as raw JSON, empty where none is kept;
    `opening` is how its conversation begins. `header_names` are in wire order. `subject` is the
    account as it was when the request was decided.
    """

    at_us: int
    facts: RequestFacts
    subject: Subject
    members: Members = field(default_factory=dict)
    opening: Opening = NO_OPENING
    header_names: tuple[bytes, ...] = ()


Reader = Callable[[Sight], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Family:
    """`of_subject`: its values follow from the account alone, so they are read once a version.
    `is_joined`: no single exchange shows its values; the linker makes them out of traces.
    `least_sharing`: holders of a seed to whom a value ties each other; of fewer, chance brings them
    together."""

    name: str
    block: Block
    of_subject: bool
    read: Reader
    doc: str
    is_joined: bool = False
    least_sharing: int = LEAST_SHARING


_families: dict[str, Family] = {}


def family(
    name: str, block: Block, *, of_subject: bool = False, least_sharing: int = LEAST_SHARING
) -> Callable[[Reader], Reader]:
    """Register the decorated reader. Raises ValueError for a name that is taken or undocumented."""

    def register(read: Reader) -> Reader:
        if name in _families:
            raise ValueError(f"evidence family {name} is defined twice")
        doc = " ".join((read.__doc__ or "").split())
        if not doc:
            raise ValueError(f"evidence family {name} has no docstring")
        _families[name] = Family(name, block, of_subject, read, doc, least_sharing=least_sharing)
        return read

    return register


def joined_family(name: str, block: Block, doc: str) -> None:
    """Register a family whose values the linker makes. Raises ValueError as `family` does."""
    if name in _families:
        raise ValueError(f"evidence family {name} is defined twice")
    _families[name] = Family(name, block, False, lambda sight: (), doc, is_joined=True)


def all_families() -> Mapping[str, Family]:
    return MappingProxyType(_families)


@record
class Key:
    """One piece of evidence: a family and the keyed hash of a value (16 hex digits). `was`: the
    same value under the linking key before, while that one is still known; else empty."""

    family: str
    value: str
    was: str = ""


@dataclass(frozen=True, slots=True)
class LinkingKeys:
    """What values are hashed under: the linking key, and the one before it while a rotation lasts
    (docs/adr/0017)."""

    current: KeyedHash
    previous: KeyedHash | None = None

    def key(self, family: str, text: str) -> Key:
        value = self.current.value(family, text)[:HASH_DIGITS]
        if (previous := self.previous) is None:
            return Key(family, value)
        return Key(family, value, previous.value(family, text)[:HASH_DIGITS])


_TURN = Key(TURN, HERE)
_Readers = tuple[tuple[str, Reader], ...]


class Extractor:
    """Reads the new (account, key) pairs out of sights.

    What an account has shown among its last `KEPT_PER_ACCOUNT` pairs is not told again; after
    its first `SAMPLED_AFTER` requests only every `SAMPLE`th is looked at. That it sent is told once
    in `CLOSE_SLOT_US`. Bounded: the accounts that were admitted first go first.
    """

    KEPT_PER_ACCOUNT = 32
    MAX_ACCOUNTS = 131_072  # about 2 KB each
    SAMPLED_AFTER = 24
    SAMPLE = 8

    def __init__(self, keys: LinkingKeys | KeyedHash, enabled: Iterable[str] | None = None) -> None:
        """`enabled` None: every family that is registered. Raises ValueError for unknown ones."""
        known = all_families()
        wanted = tuple(known if enabled is None else enabled)
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            raise ValueError(f"no such evidence family: {', '.join(unknown)}")
        self._keys = keys if isinstance(keys, LinkingKeys) else LinkingKeys(keys)
        self._of_subject = _readers(known[name] for name in wanted if known[name].of_subject)
        of_request = [known[name] for name in wanted if not known[name].of_subject]
        of_request = [one for one in of_request if not one.is_joined]
        self._of_request = _readers(of_request)
        # The client and the network of an aggregator's request are the aggregator's.
        self._of_sub_user = _readers(one for one in of_request if one.block is not Block.ORIGIN)
        self._follows_turns = "turns" in wanted
        # The oldest first: of a plain dictionary the first costs as much as went before it.
        self._accounts = OrderedDict[str, _Shown]()

    def wants(self, subject: Subject) -> bool:
        """Whether the account's next sight will be looked at, so that nobody takes a body apart
        in vain. Where it will not, `pass_over` counts it."""
        shown = self._accounts.get(subject.account_id)
        return shown is None or shown.version != subject.version or shown.is_sampled(1)

    def pass_over(self, subject: Subject, at_us: int) -> list[Key]:
        """Count a request that is not looked at; what is told of it all the same."""
        shown = self._accounts[subject.account_id]
        shown.seen += 1
        return self._turn(shown, subject, at_us)

    def new_keys(self, sight: Sight) -> list[Key]:
        """What this sight adds to what is known of its account; mostly nothing."""
        shown = self._accounts.get(sight.subject.account_id)
        if shown is None:
            shown = self._admit(sight.subject.account_id)
        found: list[Key] = []
        if shown.version != sight.subject.version:
            shown.version = sight.subject.version
            self._read(self._of_subject, sight, shown, found)
        is_sampled = shown.is_sampled(1)
        shown.seen += 1
        if is_sampled:
            is_own = sight.subject.sub_user is None
            self._read(self._of_request if is_own else self._of_sub_user, sight, shown, found)
        return found + self._turn(shown, sight.subject, sight.at_us)

    def counts(self) -> dict[str, tuple[int, int]]:
        """(requests seen, version) of each account, for a snapshot, in order of admission."""
        return {name: (shown.seen, shown.version) for name, shown in self._accounts.items()}

    def recount(self, counts: Mapping[str, tuple[int, int]]) -> None:
        """Go on sampling where `counts` stood; what was shown may be told again."""
        self._accounts.clear()
        for account_id, (seen, version) in counts.items():
            shown = self._admit(account_id)
            shown.seen, shown.version = seen, version

    def _read(self, readers: _Readers, sight: Sight, shown: _Shown, found: list[Key]) -> None:
        pairs, most, key = shown.pairs, self.KEPT_PER_ACCOUNT, self._keys.key
        most_values = MAX_VALUES_PER_FAMILY
        for name, read in readers:
            values = read(sight)
            for text in values if len(values) <= most_values else values[:most_values]:
                pair = hash((name, text))  # of this process only; the text itself is not kept
                if pair in pairs:
                    continue
                if len(pairs) >= most:
                    del pairs[next(iter(pairs))]
                pairs[pair] = None
                found.append(key(name, text))

    def _turn(self, shown: _Shown, subject: Subject, at_us: int) -> list[Key]:
        """When an aggregator's user sends is the aggregator's doing too, and is not told."""
        slot = at_us // CLOSE_SLOT_US
        if not self._follows_turns or shown.turn_slot == slot or subject.sub_user is not None:
            return []
        shown.turn_slot = slot
        return [_TURN]

    def _admit(self, account_id: str) -> _Shown:
        if len(self._accounts) >= self.MAX_ACCOUNTS:
            self._accounts.popitem(last=False)
        shown = self._accounts[account_id] = _Shown()
        return shown


def _readers(families: Iterable[Family]) -> _Readers:
    return tuple([(one.name, one.read) for one in families])


class _Shown:
    """What one account has shown lately."""

    __slots__ = ("pairs", "seen", "turn_slot", "version")

    def __init__(self) -> None:
        self.pairs: dict[int, None] = {}
        self.seen = 0
        self.turn_slot = -1
        self.version = -1

    def is_sampled(self, ahead: int) -> bool:
        number = self.seen + ahead
        return number <= Extractor.SAMPLED_AFTER or number % Extractor.SAMPLE == 0
