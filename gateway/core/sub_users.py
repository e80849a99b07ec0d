"""Users of an aggregator, as far as the aggregator names them.

An account whose contract is `aggregator` stands for many customers of its own, and is never
linked. Where it passes `safety_identifier`, `user` or `metadata.user_id`, each of those is an
account of the linker's graph. What is found out about one lies in the aggregator's own record, so
that it holds on the next request of every worker, and nobody else's request looks at it.

Law: a sub-user's cluster touches that sub-user's requests alone.
"""

from __future__ import annotations

from ..model import LinkedUser, RequestFacts, Subject, with_changes

AGGREGATOR = "aggregator"
DIGITS = 16  # of the keyed hash of what names a user
MAX_LINKED_USERS = 512  # of one aggregator; about 60 bytes each in its record
_BETWEEN = " user:"  # no account id has a space in it
_RANKS = {"dismissed": 0, "watched": 1, "suspected": 2, "confirmed": 3}
_TOUCHED = ("suspected", "confirmed")


def user_in(facts: RequestFacts, subject: Subject) -> str | None:
    """Which of its users an aggregator asks for; None for other accounts, and where it does not
    say."""
    if subject.sub_user is not None:
        return subject.sub_user
    if facts.end_user is None or AGGREGATOR not in subject.contracts:
        return None
    return facts.end_user[:DIGITS]


def name_of(account_id: str, user: str) -> str:
    """What the linker calls a sub-user."""
    return f"{account_id}{_BETWEEN}{user}"


def parts_of(name: str) -> tuple[str, str | None]:
    """(account id, sub-user); None where the name is an account's own."""
    account_id, between, user = name.partition(_BETWEEN)
    return account_id, user if between else None


def for_linking(subject: Subject, user: str) -> Subject:
    """The sub-user as evidence families read it: what is known of the aggregator is not known of
    its users."""
    name = name_of(subject.account_id, user)
    return Subject(name, version=subject.version, sub_user=user)


def for_decision(subject: Subject, user: str) -> Subject:
    """The aggregator as it is seen when it asks for this user. The contract and the verifications
    are its own: they do not vouch for a user who is suspected."""
    cluster_id, state, size, suspicion = subject.linked_users[user]
    seen = with_changes(
        subject,
        linked_users={},
        sub_user=user,
        cluster_id=cluster_id,
        cluster_state=state,
        cluster_size=size,
        cluster_since_us=None,
        suspicion=suspicion,
    )
    return with_changes(seen, contracts=(), grants=()) if state in _TOUCHED else seen


def with_user(subject: Subject, user: str, linked: LinkedUser | None) -> Subject:
    """The aggregator's record with what is said of one user from now on; None: nothing. Where
    there is no room, who is suspected less makes it."""
    users = {name: one for name, one in subject.linked_users.items() if name != user}
    if linked is not None:
        users[user] = linked
    if len(users) > MAX_LINKED_USERS:
        del users[min(users, key=lambda name: (_rank(users[name]), name))]
    return with_changes(subject, linked_users=users)


def _rank(linked: LinkedUser) -> tuple[int, float]:
    return _RANKS.get(linked[1], 0), linked[3]
