"""What the calling software looks like: TLS fingerprint, headers and their order, versions.

Innocent causes: everybody who uses the same release of the same SDK. Popular combinations are
hubs; what is left are rare stacks, and claims that do not fit the TLS fingerprint.
"""

from __future__ import annotations

from .evidence import Block, Sight, family

MAX_NAMES = 40


@family("client_stack", Block.ORIGIN)
def client_stack(sight: Sight) -> tuple[str, ...]:
    """TLS fingerprint (where a trusted edge tells it), declared client and header order."""
    facts = sight.facts
    if facts.user_agent is None and facts.ja4 is None:
        return ()
    names = b",".join(sight.header_names[:MAX_NAMES]).decode("latin-1")
    return (f"{facts.ja4}|{facts.sdk or facts.user_agent}|{names}",)
