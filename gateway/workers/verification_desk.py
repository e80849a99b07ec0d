"""The desk at which accounts are verified: links, steps, what they come to, and appeals.

Law: a grant is written in the same call of the store that takes the code or the session away, so
it is given once, and a step that was passed is never lost: whoever is cut off in between tries
the same code again, or the provider tells its result again.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..adapters.verify.port import Offer, Wait
from ..core.gcra import retry_after_us
from ..core.keyed import KeyedHash
from ..errors import StoreError
from ..friction import brakes, links
from ..friction.ladder import held_level, steps_for
from ..friction.mail_address import MailAddress, is_listed
from ..friction.record import (
    Outcome,
    Record,
    appealed,
    begin,
    close_session,
    fail_session,
    find_session,
    granted,
    offer_code,
    open_session,
    over_reached,
    pending_code,
    try_code,
)
from ..friction.visit import Entry, Visit
from ..model import SECOND_US, Ask, Charge, ChargeReply, Grant, Level, Policy, Subject
from ..ports import Clock
from ..stores import RedisStore
from ..stores.verification import RETRIES, VerificationBook

DEFAULT_EXPIRES_US = 365 * 86_400 * SECOND_US
BRAKE_PAUSES_S = (0.1, 0.3, 0.8)
RESERVED_US = 3600 * SECOND_US  # a place at a destination until its grant is written
DEFAULT_MAX_ACCOUNTS = {
    Level.EMAIL: 3,
    Level.PHONE: 3,
    Level.PAYMENT: 5,
    Level.IDENTITY: 3,
    Level.ORGANIZATION: 50,
}
Count = Callable[[Level, str], None]
Timed = Callable[[Level, float], None]


@dataclass(frozen=True, slots=True)
class DeskTerms:
    """What an operator sets."""

    levels: frozenset[Level]  # with a way to pass them
    link_ttl_us: int = 86_400 * SECOND_US
    max_accounts: Mapping[Level, int] = field(default_factory=lambda: DEFAULT_MAX_ACCOUNTS)
    disposable: frozenset[str] = frozenset()
    codes_per_hour: int = brakes.DEFAULT_CODES_PER_HOUR


class VerificationDesk:
    """One process's. Methods raise StoreError where the store fails: nothing was done then that
    cannot be done again."""

    def __init__(
        self,
        store: RedisStore,
        *,
        keyed: KeyedHash,
        clock: Clock,
        terms: DeskTerms,
        policy: Callable[[], Policy],
        count: Count,
        timed: Timed = lambda level, seconds: None,
        book: VerificationBook | None = None,
    ) -> None:
        self.book = book or VerificationBook(store)
        self.terms = terms
        self._store = store
        self._keyed = keyed
        self._clock = clock
        self._policy = policy
        self._count = count
        self._timed = timed

    # ── links ────────────────────────────────────────────────────────────────────────────────

    def token_for(self, subject: Subject | None, level: Level | None, rule: str) -> str | None:
        """A link's token; None for callers who have no account that could be verified."""
        if subject is None or subject.pseudonym is None or level is None or not subject.version:
            return None
        expires_us = self._clock.now_us() + self.terms.link_ttl_us
        link = links.Link(subject.pseudonym, level, links.tag_of(rule), expires_us)
        return links.sign(self._keyed, link)

    def form_token(self, token: str) -> str:
        return links.form_token(self._keyed, token)

    def is_form_token(self, token: str, given: str) -> bool:
        return hmac.compare_digest(self.form_token(token).encode(), given.encode())

    async def visit(self, token: str) -> Visit | None:
        """None for a token that is not ours, has expired, or whose account is gone: the same
        answer for all three, so that nobody learns which."""
        link = links.read(self._keyed, token)
        if link is None or link.expires_us <= self._clock.now_us():
            return None
        account_id = await self.book.account_of(link.pseudonym)
        entry = None if account_id is None else await self.book.read(account_id)
        return None if entry is None else self._seen(token, link, entry)

    async def start(self, visit: Visit) -> None:
        """The page is open; counted once for each time something is asked."""
        if not visit.steps:
            return
        rule = "" if visit.ask is None else visit.ask.rule
        record = begin(visit.record, visit.required, rule, self._clock.now_us())
        was_started = visit.record.started_us is not None
        if record == visit.record or not await self.book.commit(visit.entry, record):
            return
        if not was_started:
            self._count(visit.required, "started")

    def _seen(self, token: str, link: links.Link, entry: Entry) -> Visit:
        held = held_level(entry.subject, self._clock.now_us())
        steps = steps_for(link.level, held, self.terms.levels)
        return Visit(token, link, entry, link.level, held, steps, self._ask(link))

    def _ask(self, link: links.Link) -> Ask | None:
        for ask in self._policy().asks.values():
            if links.tag_of(ask.rule) == link.rule_tag:
                return ask
        return None

    # ── brakes ───────────────────────────────────────────────────────────────────────────────

    async def brake(self, charge: Charge) -> Wait | None:
        """None: go on."""
        reply = await self._charge(charge)
        if reply.applied:
            return None
        waits = [
            retry_after_us(result.level, reply.now_us, step.amount, step.ceiling)
            for step, result in zip(charge.steps, reply.results, strict=True)
            if not result.allowed
        ]
        return Wait(max(1, -(-max(waits, default=SECOND_US) // SECOND_US)))

    async def _charge(self, charge: Charge) -> ChargeReply:
        """The store's calls are in a hurry, for requests to a model; whoever reads a page can wait
        a second. One that was late may count twice, which only makes a brake tighter.

        Raises StoreError when the last try fails."""
        for pause_s in BRAKE_PAUSES_S:
            try:
                return await self._store.charge(charge)
            except StoreError:
                await asyncio.sleep(pause_s)
        return await self._store.charge(charge)

    async def brake_visit(self, network: str) -> Wait | None:
        return await self.brake(brakes.visit_brakes(_lease(), network=network))

    # ── email ────────────────────────────────────────────────────────────────────────────────

    def proof(self, level: Level, text: str) -> str:
        """The keyed hash that stands for a mailbox, phone, card or identity."""
        name = level.name.lower()
        return f"{name[:2]}:{self._keyed.value(f'verify-{name}'[:16], text)[:20]}"

    def is_disposable(self, address: MailAddress) -> bool:
        return is_listed(address.domain, self.terms.disposable)

    async def offer_mail_code(
        self, visit: Visit, address: MailAddress, network: str
    ) -> Offer | Wait | None:
        """A new code for this address; None where no code is wanted (any more)."""
        if Level.EMAIL not in visit.steps:
            return None
        proof = self.proof(Level.EMAIL, address.mailbox)
        wait = await self.brake(
            brakes.code_brakes(
                _lease(),
                account_id=visit.account_id,
                network=network,
                proof=proof,
                codes_per_hour=self.terms.codes_per_hour,
            )
        )
        if wait is not None:
            self._count(Level.EMAIL, "slowed")
            return wait
        code = f"{secrets.randbelow(100_000_000):08d}"
        digest = self._digest(visit.account_id, code)
        for _ in range(RETRIES):
            record = offer_code(
                visit.record,
                digest=digest,
                proof=proof,
                shown=address.shown,
                now_us=self._clock.now_us(),
            )
            if await self.book.commit(visit.entry, record):
                return Offer(code, address)
            visit = await self._again(visit)
        raise StoreError("conflict", "the account keeps changing")

    def note_mail(self, *, is_sent: bool) -> None:
        """What came of handing a code to the mail server: without it nobody sees it fail."""
        self._count(Level.EMAIL, "sent" if is_sent else "mail_failed")

    async def enter_mail_code(self, visit: Visit, code: str, network: str) -> Outcome | Wait:
        """What the code came to. The right one is tried until it is written or refused."""
        charge = brakes.try_brakes(_lease(), account_id=visit.account_id, network=network)
        wait = await self.brake(charge)
        if wait is not None:
            return wait
        given = self._digest(visit.account_id, "".join(code.split()).replace("-", "")[:32])
        for _ in range(RETRIES):
            now_us = self._clock.now_us()
            pending = pending_code(visit.record, now_us)
            matches = hmac.compare_digest(given, b"" if pending is None else pending.digest)
            record, outcome = try_code(visit.record, matches=matches, now_us=now_us)
            if outcome is Outcome.PASSED and pending is not None:
                proof: str = pending.proof
                passed = await self._pass(visit.entry, record, Level.EMAIL, proof, visit.ask)
                if passed is not None:
                    return passed
            elif record == visit.record or await self.book.commit(visit.entry, record):
                self._count(Level.EMAIL, outcome.value)
                return outcome
            visit = await self._again(visit)
            if Level.EMAIL not in visit.steps and visit.held >= Level.EMAIL:
                return Outcome.PASSED  # the other half of a double click has passed it
        raise StoreError("conflict", "the account keeps changing")

    def _digest(self, account_id: str, code: str) -> bytes:
        return bytes.fromhex(self._keyed.value("verify-code", f"{account_id}\n{code}"))

    # ── providers ────────────────────────────────────────────────────────────────────────────

    async def open_session(self, visit: Visit, level: Level, provider: str) -> str | Wait | None:
        """What the provider is to bring back; None where the step is not wanted."""
        if level not in visit.steps:
            return None
        wait = await self.brake(brakes.session_brakes(_lease(), account_id=visit.account_id))
        if wait is not None:
            return wait
        nonce = secrets.token_hex(12)
        for _ in range(RETRIES):
            record = open_session(
                visit.record,
                nonce=nonce,
                provider=provider,
                level=level,
                now_us=self._clock.now_us(),
            )
            if await self.book.commit(visit.entry, record):
                return links.sign_session(self._keyed, visit.link.pseudonym, nonce)
            visit = await self._again(visit)
        raise StoreError("conflict", "the account keeps changing")

    async def settle_session(
        self,
        session: str,
        *,
        provider: str,
        level: Level,
        has_passed: bool,
        fingerprint: str | None,
    ) -> Outcome:
        """What a provider's result came to; it may be told any number of times."""
        read = links.read_session(self._keyed, session)
        account_id = None if read is None else await self.book.account_of(read[0])
        if read is None or account_id is None:
            return Outcome.UNKNOWN_SESSION
        nonce = read[1]
        for _ in range(RETRIES):
            entry = await self.book.read(account_id)
            if entry is None:
                return Outcome.UNKNOWN_SESSION
            now_us = self._clock.now_us()
            found = find_session(entry.record, nonce=nonce, provider=provider, now_us=now_us)
            if isinstance(found, Outcome):
                return found
            if found.level != level:
                return Outcome.UNKNOWN_SESSION
            ask = self._policy().asks.get(entry.record.rule)
            if has_passed:
                record = close_session(entry.record, nonce, now_us)
                proof = None if fingerprint is None else self.proof(level, fingerprint)
                passed = await self._pass(entry, record, level, proof, ask)
                if passed is not None:
                    return passed
            elif found.has_failed:
                return Outcome.DUPLICATE
            elif await self.book.commit(entry, fail_session(entry.record, nonce, now_us)):
                self._count(level, Outcome.FAILED.value)
                return Outcome.FAILED
        raise StoreError("conflict", "the account keeps changing")

    # ── grants ───────────────────────────────────────────────────────────────────────────────

    async def _pass(
        self, entry: Entry, record: Record, level: Level, proof: str | None, ask: Ask | None
    ) -> Outcome | None:
        """Grant the level, or note that the proof serves too many; None: look again."""
        now_us = self._clock.now_us()
        expires_us: int | None = now_us + DEFAULT_EXPIRES_US
        if ask is not None:
            expires_us = None if ask.expires_us is None else now_us + ask.expires_us
        if proof is not None and not await self.book.claim(
            proof,
            entry.subject.account_id,
            most=self._most_accounts(level, ask),
            now_us=now_us,
            until_us=now_us + RESERVED_US,
        ):
            return await self._refuse_reach(entry, record, level, proof)
        started_us = entry.record.started_us
        done, subject = granted(
            record,
            entry.subject,
            Grant(level, now_us, expires_us),
            proof=proof,
            event_id=secrets.token_hex(12),
        )
        if not await self.book.commit(entry, done, subject):
            return None
        self._count(level, Outcome.PASSED.value)
        since_us = entry.subject.asked_us or started_us
        if since_us is not None:
            self._timed(level, (now_us - since_us) / SECOND_US)
        return Outcome.PASSED

    def _most_accounts(self, level: Level, ask: Ask | None) -> int:
        """A rule may allow fewer than the settings, never more."""
        most = self.terms.max_accounts.get(level, 1)
        return most if ask is None or ask.max_accounts is None else min(most, ask.max_accounts)

    async def _refuse_reach(
        self, entry: Entry, record: Record, level: Level, proof: str
    ) -> Outcome | None:
        """Reaching for a full destination is evidence: it links the account to its holders."""
        spent, subject = over_reached(record, entry.subject, proof)
        if not await self.book.commit(entry, spent, subject):
            return None
        self._count(level, Outcome.TOO_MANY_ACCOUNTS.value)
        return Outcome.TOO_MANY_ACCOUNTS

    # ── appeals ──────────────────────────────────────────────────────────────────────────────

    async def appeal(self, visit: Visit, text: str) -> Wait | None:
        """Into the operator's inbox; a second text replaces an unanswered first."""
        wait = await self.brake(brakes.appeal_brakes(_lease(), account_id=visit.account_id))
        if wait is not None:
            return wait
        for _ in range(RETRIES):
            now_us = self._clock.now_us()
            await self.book.list_appeal(visit.account_id, now_us)
            if await self.book.commit(visit.entry, appealed(visit.record, text, now_us)):
                self._count(visit.required, "appealed")
                return None
            visit = await self._again(visit)
        raise StoreError("conflict", "the account keeps changing")

    async def _again(self, visit: Visit) -> Visit:
        entry = await self.book.read(visit.account_id)
        if entry is None:
            raise StoreError("conflict", "the account is gone")
        return self._seen(visit.token, visit.link, entry)


def _lease() -> str:
    return secrets.token_hex(8)
