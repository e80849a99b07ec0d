"""Where requests come from, worked out once for each peer and chain of addresses.

Clients keep their address for many requests, and a look-up reads far-apart places of large tables.
What callers make up costs them a place in a bounded cache, and nobody else an answer.
"""

from __future__ import annotations

from functools import lru_cache

from ..core.keyed import KeyedHash
from ..ports import EditedGeo
from .client import Client, Headers, TrustedEdge, client_address
from .facts import Origin, origin_of
from .header_plan import RequestPlan

MAX_KEPT_ORIGINS = 16_384  # under half a kilobyte each
MAX_KEPT_CHAIN_BYTES = 128  # longer chains are worked out each time


class Origins:
    """Of the requests that reach one surface."""

    __slots__ = ("_edge", "_find", "_geo", "_keyed")

    def __init__(self, edge: TrustedEdge, keyed: KeyedHash, geo: EditedGeo | None) -> None:
        self._edge = edge
        self._keyed = keyed
        self._geo = geo
        self._find = lru_cache(MAX_KEPT_ORIGINS)(self._work_out)

    def of(self, client: Client | None, headers: Headers, plan: RequestPlan) -> Origin:
        """As `client_address` and `origin_of` say; `plan` is `request_plan(headers)`."""
        edge, geo = self._edge, self._geo
        chain = tuple(plan.values(headers, edge.address_header)) if edge.proxies else ()
        host = None if client is None else str(client[0])
        edition = 0 if geo is None else geo.edition
        if sum(map(len, chain)) > MAX_KEPT_CHAIN_BYTES:
            return self._work_out(host, chain, edition)
        return self._find(host, chain, edition)

    @property
    def kept(self) -> int:
        """How many are remembered."""
        return self._find.cache_info().currsize

    def _work_out(self, host: str | None, chain: tuple[bytes, ...], edition: int) -> Origin:
        """`edition`: of the address data; what is kept under another one is not found again."""
        client = None if host is None else (host, 0)
        name = self._edge.address_header
        address = client_address(client, [(name, value) for value in chain], self._edge)
        return origin_of(address, self._keyed, self._geo)
