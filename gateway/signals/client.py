"""What the caller's software says of itself. All of it can be invented, except `ja4`."""

from __future__ import annotations

from ..model import RequestFacts, Subject
from ..registry import signal


@signal("user_agent", type=str, is_free=True)
def user_agent(facts: RequestFacts, subject: Subject) -> str | None:
    """The User-Agent header, at most 200 characters; None when it was not sent."""
    return facts.user_agent


@signal("sdk", type=str, is_free=True)
def sdk(facts: RequestFacts, subject: Subject) -> str | None:
    """The vendor SDK that the headers name, such as openai-python/2.0.0; None without one."""
    return facts.sdk


@signal("ja4", type=str)
def ja4(facts: RequestFacts, subject: Subject) -> str | None:
    """TLS client fingerprint from a trusted edge; None where no edge tells it."""
    return facts.ja4


@signal("end_user", type=str, is_free=True)
def end_user(facts: RequestFacts, subject: Subject) -> str | None:
    """Keyed hash of the caller's own user (safety_identifier, user or metadata.user_id);
    None when it was not sent."""
    return facts.end_user


@signal("has_end_user", type=bool)
def has_end_user(facts: RequestFacts, subject: Subject) -> bool:
    """Whether the request names a user of the caller."""
    return facts.end_user is not None
