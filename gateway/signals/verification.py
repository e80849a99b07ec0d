"""How long an account has been asked for a verification, and how long ago it passed one."""

from __future__ import annotations

from ..model import SECOND_US, RequestFacts, Subject
from ..registry import signal


@signal("verification_wait_s", type=int, low=0)
def verification_wait_s(facts: RequestFacts, subject: Subject) -> int | None:
    """Seconds since a verification was first asked for that has not been passed, at least 0;
    None while nothing is asked."""
    if subject.asked_us is None:
        return None
    return max(0, (facts.received_us - subject.asked_us) // SECOND_US)


@signal("verified_s", type=int, low=0)
def verified_s(facts: RequestFacts, subject: Subject) -> int | None:
    """Seconds since the latest verification was passed, whether or not its grant still holds, at
    least 0; None when none ever was."""
    latest = None
    for grant in subject.grants:
        if latest is None or grant.granted_us > latest:
            latest = grant.granted_us
    return None if latest is None else max(0, (facts.received_us - latest) // SECOND_US)
