"""Writing what the linker found into subjects, and nothing else.

Law: only the cluster's fields change, under the version that was read; an account that changed
meanwhile (a ban, an import) is read again. What expires goes on expiring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from ..linking.linker import Publication
from ..model import Subject
from .codec import pack, split
from .redis import RedisStore, _mapped
from .scripts import PUT_SUBJECT

TRIES = 4
AT_ONCE = 32
KEEP_TTL = -1


class Written(StrEnum):
    """What became of a publication. `busy`: the account kept changing; try again later."""

    WRITTEN = "written"
    SAME = "same"
    UNKNOWN = "unknown"
    BUSY = "busy"


class Relinker:
    """Publishes over the operator's connection. Methods raise StoreError."""

    def __init__(self, store: RedisStore) -> None:
        self._client: Any = store._client
        self._keys = store._keys

    async def publish(self, publications: Sequence[Publication]) -> list[Written]:
        """One outcome each, in order."""
        outcomes: list[Written] = []
        for start in range(0, len(publications), AT_ONCE):
            part = publications[start : start + AT_ONCE]
            outcomes += await asyncio.gather(*map(self._publish, part))
        return outcomes

    async def _publish(self, publication: Publication) -> Written:
        name = self._keys.subject(publication.account_id)
        with _mapped():
            for _ in range(TRIES):
                stored = await self._client.get(name)
                if stored is None:
                    return Written.UNKNOWN
                before = split(stored)
                after = relinked(before, publication)
                if after == before:
                    return Written.SAME
                version = await self._client.eval(
                    *(PUT_SUBJECT.source, 1, name),
                    *(before.version, KEEP_TTL, pack(after, over=stored)),
                )
                if version:
                    return Written.WRITTEN
        return Written.BUSY


def relinked(subject: Subject, publication: Publication) -> Subject:
    return replace(
        subject,
        cluster_id=publication.cluster_id,
        cluster_state=publication.state,
        cluster_size=publication.size,
        cluster_since_us=publication.since_us,
        suspicion=publication.suspicion,
    )
