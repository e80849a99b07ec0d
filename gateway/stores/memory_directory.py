"""The accounts of a store in memory: who they are, their keys, and when an adopted one lapses."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping

from ..errors import StoreError
from ..model import Identity, Status, Subject, with_changes
from ..ports import OnKeyMove
from .keys import ADOPTED_KEY_ID, ADOPTED_TTL_MS

ADOPTED_TTL_US = ADOPTED_TTL_MS * 1000


class MemoryDirectory:
    """`Directory` of one process, and of `Store` what is about accounts.

    `now_us` is the clock; without one it is 0, and nobody lapses.
    """

    def __init__(self, now_us: Callable[[], int] | None = None) -> None:
        self._now_us = now_us or (lambda: 0)
        self._subjects: dict[str, Subject] = {}
        self._owners: dict[str, tuple[str, str | None]] = {}
        self._keys: dict[str, dict[str, str]] = {}
        self._lapses_us: dict[str, int] = {}  # of those that nobody has written for good
        self._shadow_all = False

    async def resolve(self, credential: str) -> Identity | None:
        owner = self._owners.get(credential)
        if owner is None:
            return None
        subject = self._known(owner[0])
        if subject is None:
            return None
        if subject.status is Status.ADOPTED:
            self._extend(subject.account_id)
        return Identity(subject, owner[1])

    async def adopt(self, credential: str, subject: Subject, *, ttl_us: int) -> Subject:
        known = await self.resolve(credential)
        if known is not None:
            return known.subject
        account_id = subject.account_id
        self._owners[credential] = (account_id, None)
        self._keys.setdefault(account_id, {})[credential] = ADOPTED_KEY_ID
        stored = self._known(account_id)
        return stored if stored is not None else await self.put(subject, None, ttl_us=ttl_us)

    async def put(
        self,
        subject: Subject,
        credentials: Mapping[str, str] | None,
        *,
        ttl_us: int | None = None,
        on_move: OnKeyMove | None = None,
    ) -> Subject:
        """Raises StoreError `conflict` when the account has changed since it was read."""
        account_id = subject.account_id
        stored = self._known(account_id)
        old = stored.version if stored is not None else 0
        if subject.version and subject.version != old:
            raise StoreError("conflict", f"account {account_id} has changed meanwhile")
        if credentials is not None:
            self._set_keys(account_id, credentials, on_move)
        subject = with_changes(
            subject,
            version=max(old + 1, self._now_us()),
            pseudonym=subject.pseudonym or secrets.token_hex(12),
        )
        self._subjects[account_id] = subject
        if ttl_us is None:
            self._lapses_us.pop(account_id, None)
        else:
            self._lapses_us[account_id] = self._now_us() + ttl_us
        return subject

    async def get(self, account_id: str) -> Subject | None:
        return self._known(account_id)

    async def keys(self, account_id: str) -> Mapping[str, str]:
        self._known(account_id)
        return dict(self._keys.get(account_id, {}))

    async def remove(self, account_id: str) -> bool:
        is_known = self._known(account_id) is not None
        self._forget(account_id)
        return is_known

    async def accounts(self) -> AsyncIterator[Subject]:
        for account_id in list(self._subjects):
            subject = self._known(account_id)
            if subject is not None:
                yield subject

    async def account_of(self, pseudonym: str) -> str | None:
        async for subject in self.accounts():
            if subject.pseudonym == pseudonym:
                return subject.account_id
        return None

    async def set_shadow_all(self, shadow_all: bool) -> None:
        self._shadow_all = shadow_all

    async def is_shadow_all(self) -> bool:
        return self._shadow_all

    def _known(self, account_id: str) -> Subject | None:
        """None for one that has lapsed, which is forgotten."""
        if self._lapses_us:  # mostly nobody is adopted, and this is asked for each charge
            until_us = self._lapses_us.get(account_id)
            if until_us is not None and until_us <= self._now_us():
                self._forget(account_id)
        return self._subjects.get(account_id)

    def _extend(self, account_id: str) -> None:
        """An adopted account that is seen stays; at most twice in its time is that written."""
        until_us, now_us = self._lapses_us.get(account_id), self._now_us()
        if until_us is not None and until_us - now_us < ADOPTED_TTL_US / 2:
            self._lapses_us[account_id] = now_us + ADOPTED_TTL_US

    def _forget(self, account_id: str) -> None:
        self._set_keys(account_id, {}, None)
        del self._keys[account_id]
        self._lapses_us.pop(account_id, None)
        self._subjects.pop(account_id, None)

    def _forget_lapsed(self) -> None:
        """Those that nobody asked for again."""
        for account_id in list(self._lapses_us):
            self._known(account_id)

    def _set_keys(
        self,
        account_id: str,
        credentials: Mapping[str, str],
        on_move: OnKeyMove | None,
    ) -> None:
        for credential in self._keys.pop(account_id, {}):
            self._owners.pop(credential, None)
        for credential, key_id in credentials.items():
            former = self._owners.get(credential)
            if former is not None and former[0] != account_id:
                self._keys.get(former[0], {}).pop(credential, None)
                self._touch(former[0])
                if on_move is not None and former[1] is not None:
                    on_move(key_id, former[0])
            self._owners[credential] = (account_id, key_id)
        self._keys[account_id] = dict(credentials)

    def _touch(self, account_id: str) -> None:
        stored = self._subjects.get(account_id)
        if stored is not None:
            version = max(stored.version + 1, self._now_us())
            self._subjects[account_id] = with_changes(stored, version=version)
