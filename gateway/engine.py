"""The life of one decision: load, assess, charge, judge; later settle and record.

The only file that knows the order of things. Everything it calls is pure or a port.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, cast

from msgspec.structs import force_setattr

from .classifiers.body import Body
from .classifiers.reader import ACCOUNT, WORKSPACE, TaskReader
from .core.assess import assess, unknown_credential
from .core.estimate import TokenEstimator
from .core.jitter import Jitter, epoch_of
from .core.judge import (
    judge,
    judge_unidentified,
    judge_unlisted,
    judge_unreadable,
    judge_without_store,
)
from .core.keyed import KeyedHash
from .core.prepare import Prepared, Preparer
from .core.settle import settlement
from .core.sighting import sighting_of
from .core.sub_users import DIGITS, for_decision
from .errors import RequestError, StoreError
from .model import (
    SECOND_US,
    Assessment,
    Charge,
    Decision,
    Exchange,
    Identity,
    Outcome,
    Policy,
    RequestFacts,
    Settlement,
    Sighting,
    Status,
    Subject,
    TaskReading,
    Timings,
    Usage,
    record,
    with_changes,
)
from .ports import Clock, EditedGeo, IdSource, Recorder, Store

MAX_CACHED_SUBJECTS = 65_536
CACHE_AGE_US = 300 * SECOND_US  # an adopted account's expiry is refreshed on resolving it
ADOPTED_TTL_US = 30 * 86_400 * SECOND_US
MAX_STALE_ROUNDS = 4
NO_TIMINGS = Timings()
WINDOWED = frozenset({"window", ACCOUNT, WORKSPACE})  # what signals of an account's window need
NO_USAGE = Usage()
ANONYMOUS = Identity(Subject("anonymous", status=Status.PROVISIONAL), None)
_PROVISIONAL = Status.PROVISIONAL
_fill_in = cast(Callable[[RequestFacts, str, object], None], force_setattr)


class PolicySource(Protocol):
    @property
    def current(self) -> Policy:
        """The policy in force; a request keeps the one it began with."""
        ...


@record
class Ending:
    """What is left to do when an exchange is over. It holds nothing else of the exchange, so that
    whoever knows the end ahead (a replay) keeps little of what is under way.

    `usage` None: nothing was used. `due` None: nothing to settle. `adopted`: the account that
    `credential` then names; None: nobody is adopted.
    """

    model: str | None
    body_bytes: int
    usage: Usage | None
    due: Settlement | None
    credential: str | None
    adopted: Subject | None


class Known:
    """An identity as it was found at `found_us`, and what was worked out for it, under which
    policy and which epoch's jitter."""

    __slots__ = ("found_us", "identity", "jitter", "policy", "prepared", "users")

    def __init__(self, identity: Identity, found_us: int) -> None:
        self.identity = identity
        self.found_us = found_us
        self.policy: Policy | None = None
        self.jitter: Jitter | None = None
        self.prepared: Prepared | None = None
        self.users: dict[str, Known] | None = None  # of an aggregator, those who are linked

    def asking_for(self, end_user: str | None) -> Known:
        """The same where the user that is named is not linked. There are at most as many views
        as the account has linked users."""
        user = None if end_user is None else end_user[:DIGITS]
        subject = self.identity.subject
        if user is None or user not in subject.linked_users:
            return self
        if self.users is None:
            self.users = {}
        view = self.users.get(user)
        if view is None:
            identity = Identity(for_decision(subject, user), self.identity.key_id)
            view = self.users[user] = Known(identity, self.found_us)
        return view


class SubjectCache:
    """Credential → identity, bounded, oldest out first. Staleness is found out when charging."""

    def __init__(self, size: int = MAX_CACHED_SUBJECTS, age_us: int = CACHE_AGE_US) -> None:
        """Raises ValueError for a `size` below 1."""
        if size < 1:
            raise ValueError("a cache of subjects holds at least one")
        self._entries: OrderedDict[str, Known] = OrderedDict()
        self._size = size
        self._age_us = age_us

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, credential: str, now_us: int) -> Known | None:
        entry = self._entries.get(credential)
        if entry is None or now_us - entry.found_us > self._age_us:
            return None
        return entry

    def put(self, credential: str, identity: Identity, now_us: int) -> Known:
        """What was worked out stays where the store has told the same as before."""
        entry = self._entries.pop(credential, None)
        if entry is None or entry.identity != identity:
            entry = Known(identity, now_us)
        entry.found_us = now_us
        self._entries[credential] = entry
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
        return entry

    def drop(self, credential: str) -> None:
        self._entries.pop(credential, None)

    def grow(self, size: int) -> None:
        """Hold at least `size`; never fewer than before."""
        self._size = max(self._size, size)


_NOBODY = Known(ANONYMOUS, 0)


class Engine:
    """Decides requests and closes exchanges. One per process; safe for concurrent requests.

    With `event_time` the charges carry the request's own `received_us` instead of using the
    store's clock, which is how a replay keeps every stateful part on one clock.
    """

    def __init__(
        self,
        *,
        store: Store,
        policies: PolicySource,
        clock: Clock,
        ids: IdSource,
        keyed: KeyedHash,
        recorders: tuple[Recorder, ...] = (),
        event_time: bool = False,
        cached_subjects: int = MAX_CACHED_SUBJECTS,
        keeps_windows: bool = False,
        tasks: TaskReader | None = None,
        geo: EditedGeo | None = None,
    ) -> None:
        """`keeps_windows`: accounts' windows are kept even while the policy names no signal of
        theirs, for whoever else reads them. `cached_subjects`: how many credentials are
        remembered, about 2 KB each. Fewer than are in use at a time cost a look-up in the store
        and a preparation at nearly every request."""
        self.store = store
        self.policies = policies
        self.clock = clock
        self.ids = ids
        self.keyed = keyed
        self.geo = geo
        self.estimator = TokenEstimator()
        self.tasks = tasks
        self._recorders = recorders
        self._event_time = event_time
        self._cache = SubjectCache(cached_subjects)
        self._preparer: Preparer | None = None
        self._jitter = Jitter(keyed, 0)
        self._keeps_windows = keeps_windows
        self._windows_of: Policy | None = None
        self._reads_windows = self._scores_accounts = False
        self._shadow_all = False  # as last seen, for when the store does not answer

    def expect(self, credentials: int) -> None:
        """Remember as many; for who knows beforehand how many will be in use."""
        self._cache.grow(credentials)

    async def decide(self, facts: RequestFacts) -> Decision:
        """One decision. Never raises for what a caller or the store does."""
        policy = self.policies.current
        if facts.route is None:
            return judge_unlisted(policy, facts)
        if policy is not self._windows_of:
            self._scores_accounts = ACCOUNT in policy.needs
            self._windows_of, self._reads_windows = policy, not WINDOWED.isdisjoint(policy.needs)
        try:
            for _ in range(MAX_STALE_ROUNDS):
                known = self._known(facts)
                if known is None:
                    known = await self._resolve(facts.credential or "", facts.received_us)
                if known.identity.subject.linked_users:
                    known = known.asking_for(facts.end_user)
                identity = known.identity
                if self._reads_windows:
                    self._show_window(facts, identity.subject)
                assessment = self._assess(policy, facts, known)
                reply = await self.store.charge(self._charge(facts, identity.subject, assessment))
                self._shadow_all = reply.shadow_all
                if not reply.is_stale:
                    return judge(policy, facts, identity, assessment, reply)
                self._forget(facts)
            raise StoreError("refused", "the account keeps changing")
        except StoreError:
            return self._decide_degraded(policy, facts)

    async def demand_known(self, credential: str, now_us: int) -> None:
        """Before a body is waited for. Raises RequestError 401 `unknown_credential` where the
        policy in force refuses whom nobody imported and this is nobody's key. While the store does
        not answer nobody is refused here: `decide` says what happens then."""
        if self.policies.current.adopts_unknown or self._cache.get(credential, now_us) is not None:
            return
        with suppress(StoreError):
            known = await self._resolve(credential, now_us)
            if known.identity.subject.status is _PROVISIONAL:
                raise unknown_credential()

    def read_task(self, body: Body, caller: str | None) -> TaskReading | None:
        """What a request is for, where the policy in force asks; `caller` is its credential."""
        if self.tasks is None:
            return None
        return self.tasks.read(self.policies.current, body, caller)

    def reject(self, facts: RequestFacts, error: RequestError) -> Decision:
        """The decision on a request that cannot be read: refused, whatever the policy says."""
        return judge_unreadable(self.policies.current, facts, error)

    async def finish(
        self,
        facts: RequestFacts,
        decision: Decision,
        *,
        outcome: Outcome,
        usage: Usage | None = None,
        upstream_status: int | None = None,
        finished_us: int | None = None,
        timings: Timings = NO_TIMINGS,
    ) -> None:
        """Close an exchange: settle, adopt, learn, record. Recording happens whatever fails.

        `usage` None: nothing was used (refused, or the upstream failed); token reservations
        are given back as far as they have not drained.
        """
        finished_us = self.clock.now_us() if finished_us is None else finished_us
        try:
            await self.end(self.ending(facts, decision, usage, upstream_status, finished_us))
        finally:
            if self._recorders:
                used = NO_USAGE if usage is None else usage
                exchange = Exchange(
                    facts, decision, outcome, used, upstream_status, finished_us, timings
                )
                for recorder in self._recorders:
                    recorder.record(exchange)

    def ending(
        self,
        facts: RequestFacts,
        decision: Decision,
        usage: Usage | None,
        upstream_status: int | None,
        finished_us: int,
    ) -> Ending:
        """What `end` will have to do when the exchange is over at `finished_us`."""
        due = settlement(
            decision,
            usage,
            now_us=finished_us if self._event_time else None,
            sighting=self._sighting(facts, decision, usage, upstream_status),
        )
        subject, adopted = decision.subject, None
        if subject is not None and subject.status is _PROVISIONAL:
            adopted = self._adopted(facts, decision, subject, upstream_status)
        return Ending(facts.model, facts.body_bytes, usage, due, facts.credential, adopted)

    async def end(self, ending: Ending) -> None:
        """Learn, settle, adopt. Never raises for what the store does."""
        self.settle(ending)
        if ending.adopted is None:
            return
        with suppress(StoreError):  # the store counts it; a later request adopts the account
            await self.store.adopt(ending.credential or "", ending.adopted, ttl_us=ADOPTED_TTL_US)

    def settle(self, ending: Ending) -> None:
        """All of `end` where nobody is adopted."""
        if ending.usage is not None:
            self.estimator.learn(ending.model, ending.body_bytes, ending.usage)
        if ending.due is not None:
            self.store.settle_soon(ending.due)

    def _assess(self, policy: Policy, facts: RequestFacts, known: Known) -> Assessment:
        """What follows from policy and account alone is kept while both are the same objects,
        and for one epoch of the jitter."""
        subject = known.identity.subject
        preparer = self._preparer
        if preparer is None or preparer.policy is not policy:
            preparer = self._preparer = Preparer(policy)
        if subject.status is _PROVISIONAL and not subject.version:
            return assess(policy, facts, subject, preparer.strangers)
        jitter = self._jitter_at(facts.received_us)
        prepared = known.prepared
        if (
            prepared is None
            or known.policy is not policy
            or (prepared.is_jittered and known.jitter is not jitter)
        ):
            prepared = preparer.prepare(subject, credential=facts.credential, jitter=jitter)
            known.policy, known.jitter, known.prepared = policy, jitter, prepared
        return assess(policy, facts, subject, prepared)

    def _jitter_at(self, now_us: int) -> Jitter:
        epoch = epoch_of(now_us)
        if epoch != self._jitter.epoch:
            self._jitter = Jitter(self.keyed, epoch)
        return self._jitter

    def _known(self, facts: RequestFacts) -> Known | None:
        if facts.credential is None:
            return _NOBODY
        return self._cache.get(facts.credential, facts.received_us)

    async def _resolve(self, credential: str, now_us: int) -> Known:
        found = await self.store.resolve(credential)
        if found is None:
            stranger = Subject(adopted_id(credential), status=_PROVISIONAL)
            return Known(Identity(stranger, None), now_us)
        if self._reads_windows:
            await self.store.fetch_window(found.subject.account_id)
        return self._cache.put(credential, found, now_us)

    def _show_window(self, facts: RequestFacts, subject: Subject) -> None:
        """The one fact that a surface cannot know: whose request it is was found out here."""
        packed = self.store.window(subject.account_id) if subject.version else None
        _fill_in(facts, "window", packed)
        if self._scores_accounts and self.tasks is not None:
            score = self.tasks.score_account(packed, facts.received_us // SECOND_US)
            _fill_in(facts, "collecting", score)

    def _sighting(
        self,
        facts: RequestFacts,
        decision: Decision,
        usage: Usage | None,
        upstream_status: int | None,
    ) -> Sighting | None:
        if not (self._keeps_windows or self._reads_windows) or not facts.is_inference:
            return None
        subject = decision.subject
        if subject is None or not subject.version:
            return None
        return sighting_of(
            *(subject.account_id, facts, decision, usage, upstream_status),
            is_asked=self._reads_windows,
        )

    def _charge(self, facts: RequestFacts, subject: Subject, assessment: Assessment) -> Charge:
        is_stored = subject.status is not _PROVISIONAL
        return Charge(
            facts.decision_id,
            subject.account_id if is_stored else None,
            subject.version,
            tuple([planned.step for planned in assessment.plan]),
            facts.received_us if self._event_time else None,
        )

    def _forget(self, facts: RequestFacts) -> None:
        if facts.credential is not None:
            self._cache.drop(facts.credential)

    def _decide_degraded(self, policy: Policy, facts: RequestFacts) -> Decision:
        """The store failed: use what the cache knows, however old, or say so."""
        known: Known | None = _NOBODY
        if facts.credential is not None:
            known = self._cache.get(facts.credential, 0)
        if known is None:
            return judge_unidentified(policy, facts, ANONYMOUS, shadow_all=self._shadow_all)
        identity = known.asking_for(facts.end_user).identity
        assessment = assess(policy, facts, identity.subject)
        return judge_without_store(policy, facts, identity, assessment, shadow_all=self._shadow_all)

    def _adopted(
        self,
        facts: RequestFacts,
        decision: Decision,
        subject: Subject,
        upstream_status: int | None,
    ) -> Subject | None:
        """Where the upstream accepted a credential nobody had imported: now it may have state."""
        if facts.credential is None or not decision.is_served:
            return None
        if upstream_status is None or not 200 <= upstream_status < 300:
            return None
        if not self.policies.current.adopts_unknown:
            return None
        return with_changes(
            subject,
            account_id=adopted_id(facts.credential),
            status=Status.ADOPTED,  # its age stays unknown: it may be old elsewhere
        )


def adopted_id(credential: str) -> str:
    """The account id of an adopted credential: a prefix of its keyed hash, so it tells nothing."""
    return f"key_{credential[:20]}"
