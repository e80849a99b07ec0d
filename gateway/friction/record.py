"""What is kept of an account's verification while it is under way, and how that changes.

Law: a record and the account's grants change together or not at all (`stores/verification`), so
whatever is in the outbox of a record has happened, and nothing that happened is missing there.
Law: of a destination, card or identity only a keyed hash is kept, and a form that its owner
recognises.

    nothing ──begin──▶ started ──offer_code──▶ code sent ──try_code──▶ pass ──▶ granted + outbox
                          └────open_session──▶ session open ──take_session──▶ pass
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ..model import SECOND_US, Grant, Level, Subject, with_changes

DAY_US = 86_400 * SECOND_US
CODE_TTL_US = 15 * 60 * SECOND_US
MAX_ATTEMPTS = 5  # of one code: 8 digits, so one in twenty million
SESSION_TTL_US = DAY_US
MAX_SESSIONS = 4
MAX_TAKEN = 8
MAX_OUTBOX = 32
MAX_PROOFS = 8
MAX_GRANTS = 16
ABANDONED_US = 3 * DAY_US  # without a step since
CLEAN_US = 7 * DAY_US  # after which one looks whether who passed stayed clean
MAX_APPEAL_CHARS = 2_000


class Code(msgspec.Struct, array_like=True, frozen=True):
    """A one-time code on its way; `digest` is its keyed hash."""

    digest: bytes
    proof: str
    shown: str  # such as j…@example.org
    sent_us: int
    expires_us: int
    attempts: int = 0


class Session(msgspec.Struct, array_like=True, frozen=True):
    """A visit to a provider that has not passed. One that has failed stays open: whoever's first
    card is declined tries another in the same visit."""

    nonce: str
    provider: str
    level: int
    opened_us: int
    has_failed: bool = False


class Event(msgspec.Struct, array_like=True, frozen=True):
    """What the platform's directory is still to be told; `id` is what it drops repeats by."""

    id: str
    kind: str  # granted, revoked, expired
    level: int
    at_us: int
    expires_us: int | None
    attempts: int = 0


class Hold(msgspec.Struct, array_like=True, frozen=True):
    """A place at a destination, card or identity that is still to be made lasting (`until_us`)
    or to be given up (None)."""

    proof: str
    until_us: int | None


class Appeal(msgspec.Struct, array_like=True, frozen=True):
    text: str
    at_us: int
    answer: str | None = None
    answered_us: int | None = None


class Record(msgspec.Struct, array_like=True, frozen=True):
    """One account's; the empty one stands for an account that nothing is known of."""

    level: int = 0  # asked for, 0: nothing
    rule: str = ""
    started_us: int | None = None
    touched_us: int = 0
    code: Code | None = None
    sessions: tuple[Session, ...] = ()
    taken: tuple[str, ...] = ()  # nonces of sessions that have told their result
    outbox: tuple[Event, ...] = ()
    holds: tuple[Hold, ...] = ()
    appeal: Appeal | None = None
    passed_us: int | None = None  # until it was looked at whether the account stayed clean
    setback: str = ""  # what the last visit to a provider came to, if not to a pass


EMPTY = Record()
_replace = msgspec.structs.replace


class Outcome(StrEnum):
    """What came of a step, also as a metric's label."""

    PASSED = "passed"
    WRONG_CODE = "wrong_code"
    NO_CODE = "no_code"  # none was sent, or it has expired, or was tried too often
    TOO_MANY_ACCOUNTS = "too_many_accounts"
    UNKNOWN_SESSION = "unknown_session"
    DUPLICATE = "duplicate"
    FAILED = "failed"


def begin(record: Record, level: Level, rule: str, now_us: int) -> Record:
    """Somebody has opened the page; opening it again changes nothing."""
    if record.started_us is not None and record.level == level:
        return record
    started_us = now_us if record.started_us is None else record.started_us
    return _replace(record, level=int(level), rule=rule, started_us=started_us, touched_us=now_us)


def offer_code(record: Record, *, digest: bytes, proof: str, shown: str, now_us: int) -> Record:
    """A new code in place of an earlier one."""
    code = Code(digest, proof, shown, now_us, now_us + CODE_TTL_US)
    return _replace(record, code=code, setback="", touched_us=now_us)


def pending_code(record: Record, now_us: int) -> Code | None:
    """The code that would still be accepted."""
    code = record.code
    if code is None or now_us >= code.expires_us or code.attempts >= MAX_ATTEMPTS:
        return None
    return code


def try_code(record: Record, *, matches: bool, now_us: int) -> tuple[Record, Outcome]:
    """`matches` is what a comparison in constant time came to. A wrong code counts; the right one
    changes nothing until it is passed, so that a crash in between loses nothing."""
    code = pending_code(record, now_us)
    if code is None:
        return record, Outcome.NO_CODE
    if matches:
        return record, Outcome.PASSED
    tried = _replace(code, attempts=code.attempts + 1)
    return _replace(record, code=tried, touched_us=now_us), Outcome.WRONG_CODE


def open_session(record: Record, *, nonce: str, provider: str, level: Level, now_us: int) -> Record:
    """The oldest of too many open sessions is given up."""
    live = [one for one in record.sessions if now_us - one.opened_us < SESSION_TTL_US]
    session = Session(nonce, provider, int(level), now_us)
    sessions = (*live[1 - MAX_SESSIONS :], session)
    return _replace(record, sessions=sessions, setback="", touched_us=now_us)


def waiting_session(record: Record, *, provider: str, level: Level, now_us: int) -> bool:
    """Whether a visit to this provider is still to tell its result."""
    return any(
        one.provider == provider
        and one.level == level
        and not one.has_failed
        and now_us - one.opened_us < SESSION_TTL_US
        for one in record.sessions
    )


def find_session(record: Record, *, nonce: str, provider: str, now_us: int) -> Session | Outcome:
    """The open session, or why there is none: a result told twice is a DUPLICATE."""
    if nonce in record.taken:
        return Outcome.DUPLICATE
    for one in record.sessions:
        if one.nonce == nonce and one.provider == provider:
            expired = now_us - one.opened_us >= SESSION_TTL_US
            return Outcome.UNKNOWN_SESSION if expired else one
    return Outcome.UNKNOWN_SESSION


def fail_session(record: Record, nonce: str, now_us: int) -> Record:
    """The visit did not succeed so far; a pass that it tells later counts all the same."""
    sessions = [
        _replace(one, has_failed=True) if one.nonce == nonce else one for one in record.sessions
    ]
    return _replace(
        record, sessions=tuple(sessions), setback=Outcome.FAILED.value, touched_us=now_us
    )


def close_session(record: Record, nonce: str, now_us: int) -> Record:
    return _replace(
        record,
        sessions=tuple([one for one in record.sessions if one.nonce != nonce]),
        taken=(*record.taken[1 - MAX_TAKEN :], nonce),
        touched_us=now_us,
    )


def granted(
    record: Record, subject: Subject, grant: Grant, *, proof: str | None, event_id: str
) -> tuple[Record, Subject]:
    """The step is passed: the grant, and what others are still to be told of it."""
    now_us = grant.granted_us
    holds = record.holds if proof is None else (*record.holds, Hold(proof, _until(grant)))
    event = Event(event_id, "granted", int(grant.level), now_us, grant.expires_us)
    done = _replace(
        record,
        level=0,
        rule="",
        code=None,
        started_us=None,
        touched_us=now_us,
        setback="",
        holds=holds,
        outbox=(*record.outbox, event)[-MAX_OUTBOX:],
        passed_us=now_us,
    )
    held = [one for one in subject.grants if _is_worth_keeping(one, grant, now_us)]
    changed = with_changes(
        subject,
        grants=(*held[1 - MAX_GRANTS :], grant),
        asked_us=None,
        proofs=with_proof(subject.proofs, proof),
    )
    return done, changed


def _until(grant: Grant) -> int:
    return grant.granted_us + 3_650 * DAY_US if grant.expires_us is None else grant.expires_us


def _is_worth_keeping(held: Grant, new: Grant, now_us: int) -> bool:
    """One of the same level is replaced, an expired one forgotten."""
    is_live = held.expires_us is None or held.expires_us > now_us
    return is_live and held.level != new.level


def over_reached(record: Record, subject: Subject, proof: str) -> tuple[Record, Subject]:
    """The proof serves as many accounts as it may: the code is spent, the reach is kept."""
    changed = with_changes(subject, proofs=with_proof(subject.proofs, proof))
    return _replace(record, code=None, setback=Outcome.TOO_MANY_ACCOUNTS.value), changed


def with_proof(proofs: tuple[str, ...], proof: str | None) -> tuple[str, ...]:
    """With the newest last; evidence for whoever links accounts."""
    if proof is None or proof in proofs:
        return proofs
    return (*proofs[1 - MAX_PROOFS :], proof)


def revoked(
    record: Record, subject: Subject, level: Level, *, event_id: str, now_us: int
) -> tuple[Record, Subject]:
    """All grants of this level are taken back."""
    event = Event(event_id, "revoked", int(level), now_us, None)
    left = tuple([grant for grant in subject.grants if grant.level is not level])
    done = _replace(record, outbox=(*record.outbox, event)[-MAX_OUTBOX:], touched_us=now_us)
    return done, with_changes(subject, grants=left)


def appealed(record: Record, text: str, now_us: int) -> Record:
    """One appeal at a time: a new text replaces an unanswered one."""
    return _replace(record, appeal=Appeal(text[:MAX_APPEAL_CHARS], now_us), touched_us=now_us)


def answered(record: Record, answer: str, now_us: int) -> Record:
    """Raises ValueError where nobody has appealed."""
    if record.appeal is None:
        raise ValueError("there is no appeal of this account")
    appeal = _replace(record.appeal, answer=answer[:MAX_APPEAL_CHARS], answered_us=now_us)
    return _replace(record, appeal=appeal, touched_us=now_us)


def abandoned(record: Record, now_us: int) -> Record | None:
    """The record without a verification that nobody goes on with; None while it is not one."""
    if record.started_us is None or now_us - record.touched_us < ABANDONED_US:
        return None
    return _replace(record, level=0, rule="", started_us=None, code=None, sessions=(), setback="")


def next_look_us(record: Record) -> int | None:
    """When somebody should look at the record again without being asked; None: never."""
    looks = [event.at_us for event in record.outbox] + [0 for _ in record.holds]
    if record.started_us is not None:
        looks.append(record.touched_us + ABANDONED_US)
    if record.passed_us is not None:
        looks.append(record.passed_us + CLEAN_US)
    return min(looks, default=None)
