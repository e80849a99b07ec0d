"""What the linker's process knows beside its graph, and both as one snapshot.

Law: state and positions are saved together, so whoever restores them reads on exactly behind
what the graph holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

import msgspec

from ..linking.linker import Evidence, Linker
from ..linking.publishing import Publication
from ..stores.stream import START, evidence_of, read_message

FORMAT = 1
MAX_SENDERS = 4_096


class Progress(msgspec.Struct):
    """Positions, counts, and what has still to be written into subjects.

    `senders` has the last number taken of each, those heard last at the end.
    """

    format: int = FORMAT
    position: str = START
    commands: str = START
    is_frozen: bool = False
    pairs: int = 0
    repeats: int = 0
    lost: int = 0
    senders: dict[str, int] = msgspec.field(default_factory=dict)
    unpublished: dict[str, Publication] = msgspec.field(default_factory=dict)

    def take(self, position: str, packed: bytes) -> list[Evidence]:
        """The evidence of one message that has not counted yet."""
        self.position = position
        message = read_message(packed)
        if message is None:
            self.lost += 1
            return []
        before = self.senders.pop(message.sender, message.number - 1)
        self.senders[message.sender] = max(before, message.number)
        if len(self.senders) > MAX_SENDERS:
            self.senders.pop(next(iter(self.senders)))
        if message.number <= before:
            self.repeats += 1
            return []
        self.lost += message.number - before - 1
        found = evidence_of(message)
        self.pairs += sum(len(one.keys) for one in found)
        return found

    def await_publication(self, publications: Iterable[Publication]) -> None:
        """The newest word on an account takes the place of an older one that has not been written:
        a cluster that grows while it is published keeps none of its members waiting for ever."""
        for one in publications:
            self.unpublished[one.account_id] = one

    def due(self, most: int, saved_ids: Set[str]) -> list[Publication]:
        """Oldest first, of clusters that a snapshot knows. While frozen only what relieves an
        account: nobody is linked anew."""
        found = []
        for one in self.unpublished.values():
            is_relief = one.cluster_id is None or one.state == "dismissed"
            is_saved = one.cluster_id is None or one.cluster_id in saved_ids
            if is_saved and (is_relief or not self.is_frozen):
                found.append(one)
                if len(found) == most:
                    break
        return found

    def published(self, publication: Publication) -> None:
        if self.unpublished.get(publication.account_id) == publication:
            del self.unpublished[publication.account_id]


class _Snapshot(msgspec.Struct, array_like=True):
    progress: Progress
    graph: bytes


def pack_state(progress: Progress, linker: Linker) -> bytes:
    return msgspec.msgpack.encode(_Snapshot(progress, linker.snapshot()))


def unpack_state(packed: bytes) -> tuple[Progress, bytes]:
    """(progress, the graph's own snapshot). Raises ValueError for another version's."""
    try:
        found = msgspec.msgpack.decode(packed, type=_Snapshot)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the linker's snapshot cannot be read: {error}") from None
    if found.progress.format != FORMAT:
        raise ValueError(f"the linker's snapshot has format {found.progress.format}, not {FORMAT}")
    return found.progress, found.graph
