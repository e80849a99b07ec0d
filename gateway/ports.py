"""What the core asks of the outside, each in a few methods. Implementations are to the right."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from .model import Charge, ChargeReply, Exchange, Identity, Place, Settlement, Subject


class Clock(Protocol):
    def now_us(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        ...


class Store(Protocol):
    """The hot path's store. Every method raises `StoreError`, and nothing else, on failure."""

    async def resolve(self, credential: str) -> Identity | None:
        """Who holds this credential (keyed hash); None when nobody does."""
        ...

    def charge(self, charge: Charge) -> Awaitable[ChargeReply]:
        """Validate the subject's version and apply the steps, in one round trip.

        Enforced steps are charged all or nothing; shadow steps each alone; looks change
        nothing. A stale version charges nothing and answers with the new subject.
        """
        ...

    async def settle(self, settlement: Settlement) -> None:
        """Replace reservations by the truth and free leases; settling twice frees once."""
        ...

    def settle_soon(self, settlement: Settlement) -> None:
        """The same, but nobody waits: never blocks, never raises. What fails is counted by the
        store; leases then lapse by themselves and estimates stand."""
        ...

    def window(self, account_id: str) -> bytes | None:
        """What the account did of late (`core/window.py`), as this process last heard of it."""
        ...

    async def fetch_window(self, account_id: str) -> None:
        """Hear of it now, so that `window` knows; for accounts this process just met."""
        ...

    async def adopt(self, credential: str, subject: Subject, *, ttl_us: int) -> Subject:
        """Store an unknown credential's account unless it is known by now; returns the stored."""
        ...


OnKeyMove = Callable[[str, str], None]
"""Told of a key's id and of the account that had the key before."""


class Directory(Protocol):
    """The operator's side of the store: accounts, keys, mode. Off the hot path."""

    async def put(
        self,
        subject: Subject,
        credentials: Mapping[str, str] | None,
        *,
        ttl_us: int | None = None,
        on_move: OnKeyMove | None = None,
    ) -> Subject:
        """Create or replace an account. `credentials` maps keyed hash → key id and replaces the
        account's keys; None keeps them. A key that an operator gave to another account changes
        hands, and `on_move` hears of it. Returns the subject with its new version."""
        ...

    async def get(self, account_id: str) -> Subject | None: ...

    async def keys(self, account_id: str) -> Mapping[str, str]:
        """Keyed hash → key id."""
        ...

    async def remove(self, account_id: str) -> bool:
        """Forget account, keys and counters; False when it was unknown."""
        ...

    def accounts(self) -> AsyncIterator[Subject]:
        """Every account, in no order; one that changes meanwhile may come in either form."""
        ...

    async def set_shadow_all(self, shadow_all: bool) -> None:
        """The kill switch; holds on every replica with its next request."""
        ...

    async def is_shadow_all(self) -> bool: ...


class PagedDirectory(Directory, Protocol):
    """A directory that may hold more accounts than anyone reads at once."""

    async def page(
        self, cursor: str | None, *, enough: int
    ) -> tuple[Sequence[Subject], str | None]:
        """Accounts from `cursor` (None: from the start) on, about `enough` of them, and the cursor
        of the next page (None: that was the last). A page may be empty and not the last. An
        account that is there all the time comes at least once; raises CursorError."""
        ...


class Recorder(Protocol):
    """Told of every exchange when it is over, refused ones too. Must not block or raise."""

    def record(self, exchange: Exchange) -> None: ...


class IdSource(Protocol):
    def new_id(self, now_us: int) -> str:
        """A decision id: 26 characters, sortable by time, not guessable."""
        ...


class GeoSource(Protocol):
    """What is known of addresses. Off the store, on the hot path: a few microseconds at most."""

    def place_of(self, address: IPv4Address | IPv6Address) -> Place:
        """Of a global address; of any other (private, reserved, embedded) everything is None."""
        ...


class EditedGeo(GeoSource, Protocol):
    """Address data that are exchanged while serving."""

    @property
    def edition(self) -> int:
        """Another number after each exchange: what was answered before it no longer counts."""
        ...
