"""What accounts were verified with, or tried to be.

Innocent causes: a family's card, an agency's phone, a company that verifies by one mailbox; they
stay within the number of accounts that one destination may serve.
"""

from __future__ import annotations

from .evidence import Block, Sight, family


@family("verified_with", Block.FACTS, of_subject=True)
def verified_with(sight: Sight) -> tuple[str, ...]:
    """Accounts that were verified with one mailbox, phone, card or identity, or reached for one
    that serves as many as it may."""
    return sight.subject.proofs
