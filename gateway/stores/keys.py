"""Names of keys. What a caller can influence is bounded, and never holds a brace.

Everything of one tag shares its Cluster hash tag, so that one script call can see all of it:
`hg:{a:acc_1}` is the account's counters (hash), `…:~` its shadow counters, `…:s` its subject,
`…:k` its keys, `…:w` its window, `…:v` its verification under way, `…:c:<field>` the leases of one
concurrency limit (sorted set). `hg:{l}:…` is the linker's: evidence and commands on their way to
it, its lease, snapshot and status. `hg:{v}:…` says whose verification is to be looked at, and
`hg:{v:<proof>}:h` who was verified with one destination.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b

ADOPTED_TTL_MS = 30 * 86_400 * 1000  # without a request; each one may prolong it
ADOPTED_KEY_ID = "adopted"  # as the directory shows it; in decisions its key id is None
MAX_KEPT = 16_384
_PLAIN = re.compile(r"[A-Za-z0-9_.:@=~-]{1,96}")


class Keys:
    """Keys under one prefix."""

    __slots__ = ("meta", "mode", "prefix")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.mode = f"{prefix}mode"
        self.meta = f"{prefix}meta"

    def counters(self, tag: str, *, is_shadow: bool) -> str:
        return _counters(self.prefix, tag, is_shadow)

    def leases(self, tag: str, field: str, *, is_shadow: bool) -> str:
        return _leases(self.prefix, tag, field, is_shadow)

    def subject(self, account_id: str) -> str:
        return _subject(self.prefix, account_id)

    def window(self, account_id: str) -> str:
        return f"{self.prefix}{{{plain('a:' + account_id)}}}:w"

    def account_keys(self, account_id: str) -> str:
        return f"{self.prefix}{{{plain('a:' + account_id)}}}:k"

    def verification(self, account_id: str) -> str:
        """What is under way of the account's verification; in its own slot."""
        return f"{self.prefix}{{{plain('a:' + account_id)}}}:v"

    def proof(self, proof: str) -> str:
        """Who was verified with one destination, card or identity."""
        return f"{self.prefix}{{{plain('v:' + proof)}}}:h"

    def verifications(self, name: str) -> str:
        """Which accounts' records are to be looked at, and undeliverable news: one slot."""
        return f"{self.prefix}{{v}}:{name}"

    def credential(self, credential: str) -> str:
        return f"{self.prefix}k:{credential}"

    def pseudonym(self, pseudonym: str) -> str:
        return f"{self.prefix}p:{pseudonym}"

    def linker(self, name: str) -> str:
        """What the linker keeps: all of it in one slot, so that a script can see it together."""
        return f"{self.prefix}{{l}}:{name}"

    def subjects_pattern(self) -> str:
        return f"{self.prefix}{{a:*}}:s"

    def proofs_pattern(self) -> str:
        return f"{self.prefix}{{v:*}}:h"


# The same few names are asked for again and again; looking one up costs a tenth of making it.


@lru_cache(maxsize=MAX_KEPT)
def _counters(prefix: str, tag: str, is_shadow: bool) -> str:
    return f"{prefix}{{{plain(tag)}}}{':~' if is_shadow else ''}"


@lru_cache(maxsize=MAX_KEPT)
def _leases(prefix: str, tag: str, field: str, is_shadow: bool) -> str:
    return f"{prefix}{{{plain(tag)}}}:{'c~' if is_shadow else 'c'}:{plain(field)}"


@lru_cache(maxsize=MAX_KEPT)
def _subject(prefix: str, account_id: str) -> str:
    return f"{prefix}{{{plain('a:' + account_id)}}}:s"


def plain(name: str) -> str:
    """The name itself where it is short and harmless, else its hash behind its first letters."""
    if _PLAIN.fullmatch(name):
        return name
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    kind = name[:2] if name[1:2] == ":" and name[:1].isalpha() and name[:1].isascii() else ""
    return f"{kind}#{digest}".replace("#", "=")
