"""Keyed hashes: how credentials, addresses and ids are remembered without being kept.

One secret, one purpose label each, so that a hash for one purpose says nothing in another.
BLAKE2b is a MAC when keyed (RFC 7693 §2.9); 128 bits make collisions no concern below 2^40 keys.
"""

from __future__ import annotations

from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address
from typing import Any

MIN_SECRET_BYTES = 16
MAX_KEY_BYTES = 64  # BLAKE2b's own bound
DIGEST_BYTES = 16
MAX_PURPOSES = 64  # they are words of the code, about 30 of them


class KeyedHash:
    """`KeyedHash(secret)` hashes text to 32 hex digits, by purpose.

    Raises ValueError for a secret under 16 bytes. One over 64 is first hashed down.
    """

    __slots__ = ("_addresses", "_begun", "_credentials", "_secret")

    def __init__(self, secret: bytes) -> None:
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"the secret must have at least {MIN_SECRET_BYTES} bytes")
        if len(secret) > MAX_KEY_BYTES:
            secret = blake2b(secret).digest()
        self._secret = secret
        self._begun: dict[str, Any] = {}  # a state for each purpose, the key taken in
        self._credentials = blake2b(key=secret, digest_size=DIGEST_BYTES, person=b"credential")
        self._addresses = blake2b(key=secret, digest_size=DIGEST_BYTES, person=b"address")

    def credential(self, key: bytes) -> str:
        state = self._credentials.copy()
        state.update(key)
        return state.hexdigest()

    def address(self, packed: bytes) -> str:
        state = self._addresses.copy()
        state.update(packed)
        return state.hexdigest()

    def value(self, purpose: str, text: str) -> str:
        """Anything else; `purpose` is at most 16 ASCII characters."""
        begun = self._begun.get(purpose) or self._begin(purpose)
        state = begun.copy()
        try:
            state.update(text.encode())
        except UnicodeEncodeError:  # half a surrogate pair: as good a text as any
            state.update(text.encode("utf-8", "surrogatepass"))
        digits: str = state.hexdigest()
        return digits

    def _begin(self, purpose: str) -> Any:
        state = blake2b(key=self._secret, digest_size=DIGEST_BYTES, person=purpose.encode("ascii"))
        if len(self._begun) < MAX_PURPOSES:
            self._begun[purpose] = state
        return state

    def fingerprint(self) -> str:
        """Names the secret without revealing it: a store refuses a gateway with another one."""
        return self.value("fingerprint", "hydragate")


def network_bytes(address: IPv4Address | IPv6Address) -> bytes:
    """What identifies a client's network: the whole IPv4 address, the /64 of an IPv6 one."""
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return mapped.packed if mapped is not None else address.packed[:8]
    return address.packed
