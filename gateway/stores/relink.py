"""Writing what the linker found into subjects, and nothing else.

Law: only the cluster's fields change, under the version that was read; an account that changed
meanwhile (a ban, an import) is read again. What expires goes on expiring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from ..core.sub_users import parts_of
from ..linking.publishing import Publication
from ..linking.sub_users import relinked
from .codec import pack, split
from .redis import RedisStore
from .redis_errors import mapped
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
        """One outcome each, in order. What is said of one account's users is written at once."""
        by_account: dict[str, list[Publication]] = {}
        for one in publications:
            by_account.setdefault(parts_of(one.account_id)[0], []).append(one)
        accounts = list(by_account)
        outcomes: dict[str, Written] = {}
        for start in range(0, len(accounts), AT_ONCE):
            part = accounts[start : start + AT_ONCE]
            found = await asyncio.gather(*(self._publish(one, by_account[one]) for one in part))
            outcomes.update(zip(part, found, strict=True))
        return [outcomes[parts_of(one.account_id)[0]] for one in publications]

    async def _publish(self, account_id: str, publications: Sequence[Publication]) -> Written:
        name = self._keys.subject(account_id)
        with mapped():
            for _ in range(TRIES):
                stored = await self._client.get(name)
                if stored is None:
                    return Written.UNKNOWN
                before = after = split(stored)
                for publication in publications:
                    after = relinked(after, publication)
                if after == before:
                    return Written.SAME
                version = await self._client.eval(
                    *(PUT_SUBJECT.source, 1, name),
                    *(before.version, KEEP_TTL, pack(after, over=stored)),
                )
                if version:
                    return Written.WRITTEN
        return Written.BUSY
