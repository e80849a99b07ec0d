"""The words of the gateway as types. Read this first; it imports nothing of ours.

Instants are `*_us`: integer microseconds since the Unix epoch, UTC. Durations are `*_us` too,
and say so in their name (`retry_after_us`, `period_us`). Ratios are floats in 0..1. A fact that
nobody knows is `None`, never a default.

    RequestFacts + Subject ──assess──▶ Assessment ──charge──▶ ChargeReply ──judge──▶ Decision
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import IntEnum, StrEnum
from math import inf
from typing import Any, TypeVar, cast, dataclass_transform

from msgspec import Struct, StructMeta
from msgspec import field as msgspec_field
from msgspec.structs import replace as struct_replace

SECOND_US = 1_000_000
T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """A frozen dataclass that is made, compared and hashed in C: for what is made anew for each
    request.

    `dataclasses.replace`, `fields` and `asdict` take it for one; `with_changes` is the quick
    `replace`. It costs a third of an ordinary one, and the garbage collector does not look at
    it: a record must not come to hold itself.
    """
    dataclass(init=False, repr=False, eq=False, match_args=False)(cls)  # its fields, looked over
    own = {name: value for name, value in vars(cls).items() if name not in _OF_PLAIN_CLASSES}
    for one in fields(cls):  # type: ignore[arg-type]  # it has just become one
        if one.default_factory is not MISSING:
            own[one.name] = msgspec_field(default_factory=one.default_factory)
    return cast(type[T], StructMeta(cls.__name__, (Struct,), own, frozen=True, gc=False))


def with_changes(one: T, **changes: Any) -> T:
    """A `record` like `one` but for `changes`, by field; made in C, where `dataclasses.replace`
    costs sixty times as much. Raises TypeError for a field that it does not have."""
    return cast(T, struct_replace(cast(Struct, one), **changes))


_OF_PLAIN_CLASSES = frozenset({"__dict__", "__weakref__"})

NO_STRINGS: Mapping[str, str] = {}


class Verdict(IntEnum):
    """What happens to a request; the worst enforced one wins, so the order matters."""

    ALLOW = 0
    THROTTLE = 1
    VERIFY = 2
    DENY = 3

    @property
    def text(self) -> str:
        return VERDICT_TEXT[self]


VERDICT_TEXT = tuple(v.name.lower() for v in Verdict)


class Mode(StrEnum):
    """`shadow` findings are recorded and never act."""

    ENFORCE = "enforce"
    SHADOW = "shadow"


class OnStoreError(StrEnum):
    """What a limit says while the store does not answer."""

    ALLOW = "allow"
    DENY = "deny"


class Level(IntEnum):
    """The verification ladder, lowest first; policies write the lower-case names."""

    NONE = 0
    EMAIL = 1
    PHONE = 2
    PAYMENT = 3
    IDENTITY = 4
    ORGANIZATION = 5


class Status(StrEnum):
    """`provisional`: an unknown credential that the upstream has not accepted yet.
    `adopted`: accepted by the upstream, never imported."""

    ACTIVE = "active"
    BANNED = "banned"
    ADOPTED = "adopted"
    PROVISIONAL = "provisional"


class Cost(StrEnum):
    """What one unit of a limit is."""

    REQUESTS = "requests"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    TOTAL_TOKENS = "total_tokens"
    CONCURRENCY = "concurrency"


TOKEN_COSTS = frozenset({Cost.INPUT_TOKENS, Cost.OUTPUT_TOKENS, Cost.TOTAL_TOKENS})


@dataclass(frozen=True, slots=True)
class Quota:
    """`limit` units per `period_us`, of which `burst` may come at once.

    For concurrency `period_us` is 0 and `limit` equals `burst`: leases held at a time.
    A `limit` of 0 never lets anything pass, whatever the period.
    """

    limit: int
    period_us: int
    burst: int


NETWORK_CLASSES = ("eyeball", "hosting", "vpn", "tor", "education")
"""`hosting`: data centres and clouds; `eyeball`: announced, and none of the others."""


@dataclass(frozen=True, slots=True)
class Place:
    """What address data says of one address; None where it says nothing."""

    country: str | None = None  # ISO 3166-1 alpha-2
    asn: int | None = None
    network_class: str | None = None  # one of NETWORK_CLASSES


NOWHERE = Place()

TASKS = (
    *("reasoning_elicitation", "grading", "cleaning", "synthesis", "tool_harvesting"),
    *("probing", "benchmark", "interactive", "batch"),
)
"""What a request may be for; scores stand in this order."""


@record
class TaskReading:
    """What a classifier made of one request. `scores` are 0..1, in the order of `TASKS`;
    `features` one digit each (9: all of it), from which the scores follow under the model of that
    `version`; no text. `workspace`, 1..65535, tells projects apart: folders, languages of code; 0
    where the request names none."""

    version: str
    features: str
    scores: tuple[float, ...]
    workspace: int = 0


@record
class RequestFacts:
    """What a surface can see of one request. Addresses and credentials come as keyed hashes."""

    decision_id: str
    received_us: int
    surface: str  # proxy, middleware, replay, ext_authz, auth_request
    method: str
    path: str  # at most 256 characters, without the query
    route: str | None  # the route policy's name, such as openai.chat_completions; None: not listed
    dialect: str  # openai, anthropic, problem
    is_inference: bool = False
    credential: str | None = None  # keyed hash, 32 hex digits
    client_network: str | None = None  # keyed hash of the IPv4 address or the IPv6 /64
    country: str | None = None  # ISO 3166-1 alpha-2 of the client address
    asn: int | None = None
    network_class: str | None = None
    user_agent: str | None = None  # at most 200 characters
    sdk: str | None = None  # "openai-python/2.0.0" from the SDK's own headers
    ja4: str | None = None
    model: str | None = None  # at most 128 characters
    stream: bool | None = None
    items: int = 1  # requests inside one batch call
    body_bytes: int = 0
    message_count: int | None = None
    tool_count: int | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    end_user: str | None = None  # keyed hash of safety_identifier, user or metadata.user_id
    estimated_input_tokens: int = 0
    estimated_output_tokens: int = 0
    task: TaskReading | None = None  # None: nobody asked, or there is no text to go by
    window: bytes | None = None  # what the account did of late: filled in by `Engine.decide`,
    # before anything reads it, where the policy names a signal of it (`core/window.py`)
    collecting: float | None = None  # a score of the window, filled in likewise


OWNERSHIPS = ("attested", "unsupported-majority")
LinkedUser = tuple[str, str, int, float]
"""What is said of an aggregator's user: cluster, its state, its size, suspicion."""


@record
class Grant:
    """What passing a verification gave; `expires_us` None never expires."""

    level: Level
    granted_us: int
    expires_us: int | None = None


@record
class Subject:
    """The account behind a credential, as the store holds it.

    `version` grows with every change (0: not stored). A charge carries it, so that a change
    holds on the very next request of every worker.
    """

    account_id: str
    version: int = 0
    pseudonym: str | None = None  # random, stands for the account in logs until it is erased
    status: Status = Status.ACTIVE
    before_ban: Status = Status.ACTIVE  # what an unban gives back
    created_us: int | None = None
    org_id: str | None = None
    tier: str | None = None
    billing_country: str | None = None
    email_domain: str | None = None
    phone_country: str | None = None
    signup_country: str | None = None  # of the signup address, when it was imported
    ownership: str | None = None  # declared: one of OWNERSHIPS
    payment: str | None = None  # keyed hash of the payment fingerprint
    signup_network: str | None = None  # keyed hash of the signup address
    signup_path: str | None = None
    grants: tuple[Grant, ...] = ()
    asked_us: int | None = None  # since when a verification is asked for; None: not, or passed
    proofs: tuple[str, ...] = ()  # keyed hashes of what it was verified with, or reached for
    contracts: tuple[str, ...] = ()
    sub_users: bool = False
    quotas: Mapping[str, str] = field(default_factory=dict)  # limit name → quota text, override
    cluster_id: str | None = None
    cluster_state: str | None = None
    cluster_size: int | None = None
    cluster_since_us: int | None = None  # first evidence of the cluster; a merge keeps the earliest
    suspicion: float | None = None
    linked_users: Mapping[str, LinkedUser] = field(default_factory=dict)  # of an aggregator
    sub_user: str | None = None  # of whom a decision is; never stored


@record
class Identity:
    """What a credential resolves to: the account and which of its keys was used."""

    subject: Subject
    key_id: str | None


# ── compiled policy ──────────────────────────────────────────────────────────────────────────

SignalFunction = Callable[[RequestFacts, Subject], object]
Predicate = Callable[[Sequence[object]], bool]
"""A compiled condition over the values of `Policy.signals`, by position."""


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """One fact about a request that a policy may name.

    `value_type` is bool, int, float, str, `Level` or tuple (of str); `nullable` says that it
    may be unknown (None), `is_free` that the caller can give it as many values as it likes.
    `needs` names work that surfaces do only for policies that ask for it, such as `task`.
    `of_window`: what `read` gives, of the account's window where there is one
    (`core.behaviour.Behaviour`), for who has opened it already. Of a number, `low` and `high`
    are the least and the most that it can be.
    """

    name: str
    value_type: type
    nullable: bool
    read: SignalFunction
    doc: str
    is_free: bool = False
    needs: str = ""
    of_window: Callable[[Any, RequestFacts], object] | None = None
    low: float = -inf
    high: float = inf


@dataclass(frozen=True, slots=True)
class Rule:
    """When `when` holds, the opinion is `verdict`."""

    name: str
    why: str
    mode: Mode
    when: Predicate
    verdict: Verdict
    message: str  # the public text; never a threshold or a cluster
    level: Level | None = None  # for VERIFY
    retry_after_us: int = 0  # for THROTTLE
    status: int = 403  # for DENY: 403, or 451 for region
    source: str = ""  # file:line
    signals: tuple[str, ...] = ()  # what `when` looks at, in the order of the text


@dataclass(frozen=True, slots=True)
class ClusterTerms:
    """What a limit that counts by cluster asks of its members.

    `states` and `suspicion` (from that suspicion on, ascending) give quotas: the tighter of the
    two holds, the limit's own where neither says one. `jitter` is the ratio by which quotas may
    lie off, 0..0.5. `floor_us`: members known this much longer than the cluster go first when
    its budget is short; None: nobody does.
    """

    states: Mapping[str, Quota]
    suspicion: tuple[tuple[float, Quota], ...]
    jitter: float
    floor_us: int | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A quota on a key made of signals.

    `scope` is the hash tag's kind: a account, o organization, c cluster, n client network,
    v a value of any other signal, g global; `scope_signal` the position of the signal that fills
    it (None for g), and `fields` the positions of further signals that tell keys apart within.
    """

    name: str
    why: str
    mode: Mode
    cost: Cost
    scope: str
    scope_signal: int | None
    fields: tuple[int, ...]
    quota: Quota | None  # None: only tiers or overrides have one
    tier_quotas: Mapping[str, Quota]
    when: Predicate | None
    on_store_error: OnStoreError
    message: str
    lease_us: int = 600 * SECOND_US
    cached_input_weight: float = 1.0
    shards: int = 1
    source: str = ""
    cluster: ClusterTerms | None = None  # None: not by cluster
    is_public: bool = True  # whether its account or organization may be told how it stands
    level: Level | None = None  # what goes beyond it is asked for this verification, not throttled


@dataclass(frozen=True, slots=True)
class Ask:
    """One rule that asks for a verification, and what its grant is worth.

    `rule` is the name of the rule, the limit or the grace that may be the reason of a decision;
    `expires_us` how long the grant holds, None for ever; `max_accounts` how many accounts may have
    passed with the same mailbox, card or person, None: what the settings say. `is_enforced` is true
    also of a grace, which is in force although nothing is refused yet.
    """

    rule: str
    level: Level
    message: str
    expires_us: int | None
    is_enforced: bool
    max_accounts: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One listed way in. `pattern` segments match literally, `*` matches one segment."""

    name: str
    methods: frozenset[str]
    pattern: tuple[str, ...]
    dialect: str
    is_inference: bool
    shape: str | None  # which body reader: chat, responses, messages, embeddings, batch, … or None


@dataclass(frozen=True, slots=True)
class Policy:
    """A compiled policy: swapped whole, never changed."""

    name: str
    revision: str  # 12 hex digits over the sources
    signals: tuple[SignalSpec, ...]
    rules: tuple[Rule, ...]
    limits: tuple[Limit, ...]
    routes: tuple[Route, ...]
    adopts_unknown: bool  # an unknown credential is adopted once the upstream accepts it
    on_store_error: OnStoreError  # for callers who cannot be identified without the store
    appeal: str | None = None  # where a refused caller may turn: an address or URL
    region_sets: Mapping[str, frozenset[str]] = field(default_factory=dict)  # of countries, by name
    asks: Mapping[str, Ask] = field(default_factory=dict)  # by the name that decides

    @property
    def names(self) -> frozenset[str]:
        """Of all rules and limits; they are unique together."""
        return frozenset([r.name for r in self.rules]) | {limit.name for limit in self.limits}

    @property
    def needs(self) -> frozenset[str]:
        """Work of surfaces that its signals ask for; see `SignalSpec.needs`."""
        return frozenset([spec.needs for spec in self.signals if spec.needs])


# ── what one request asks of the store ───────────────────────────────────────────────────────


class Effect(StrEnum):
    """How a step takes part: `enforce` all or nothing together; `shadow` each alone, in a
    namespace of its own; the looks read (their namespace) and change nothing."""

    ENFORCE = "e"
    SHADOW = "s"
    LOOK = "l"
    LOOK_SHADOW = "k"

    @property
    def is_shadow(self) -> bool:
        return self is Effect.SHADOW or self is Effect.LOOK_SHADOW


class StepKind(StrEnum):
    GCRA = "g"
    LEASE = "c"


@record
class Step:
    """One limit of one request, in the store's terms.

    GCRA: `amount` is the increment in microseconds (0 only looks), `ceiling` the burst
    tolerance in microseconds, `ttl_us` how long the key is worth keeping. LEASE: `amount` is
    the number of leases, `ceiling` the most that may be held, `ttl_us` when they lapse.
    """

    tag: str  # "a:acc_1": becomes the Cluster hash tag {a:acc_1}
    field: str  # limit name, and the further key values after a colon
    kind: StepKind
    effect: Effect
    amount: int
    ceiling: int
    ttl_us: int


@record
class StepResult:
    """`level`: GCRA the TAT in microseconds after the step (before it when refused or not
    applied), 0 for a key never seen; LEASE how many are held, likewise."""

    allowed: bool
    level: int


@record
class Charge:
    """All steps of one request; `account_id` None skips the validation of the subject.

    `now_us` None means the store's own clock; replay passes event time.
    """

    lease_id: str
    account_id: str | None
    version: int
    steps: tuple[Step, ...]
    now_us: int | None = None


@record
class ChargeReply:
    """`is_stale`: the subject has changed, nothing was charged and `subject` is the new one
    (None: it is gone). `applied`: the enforced steps all passed and were charged."""

    now_us: int
    results: tuple[StepResult, ...] = ()
    applied: bool = False
    is_stale: bool = False
    subject: Subject | None = None
    shadow_all: bool = False  # the kill switch, read in the same round trip


@record
class Correction:
    """Settles one step: `delta_us` is the true increment less the reserved one (of a lease: how
    many are freed), while `level_us` is the TAT after the reservation, which bounds a credit to
    what has not drained."""

    tag: str
    field: str
    kind: StepKind
    effect: Effect
    delta_us: int
    level_us: int
    ttl_us: int


@record
class Sighting:
    """One exchange, as the window of its account counts it; `packed` as `core/window.py` says.
    `is_asked`: the process wants to hear what the window is then, as its policy reads it."""

    account_id: str
    packed: bytes
    is_asked: bool = True


@record
class Settlement:
    lease_id: str
    corrections: tuple[Correction, ...]
    now_us: int | None = None
    sighting: Sighting | None = None


@record
class Usage:
    """What an exchange really used, in tokens; None where the upstream did not tell."""

    input_tokens: int | None = None
    cached_input_tokens: int = 0
    output_tokens: int | None = None


# ── opinions and the answer ──────────────────────────────────────────────────────────────────


@record
class Finding:
    """One rule's or limit's opinion. `is_fixed`: who may call at all is no matter of policy
    modes, so neither shadow nor the kill switch takes it back."""

    rule: str
    verdict: Verdict
    mode: Mode
    message: str
    level: Level | None = None
    retry_after_us: int = 0
    status: int = 403
    is_fixed: bool = False


@record
class PlannedStep:
    """A limit of the policy with the quota that applies to this subject and its step."""

    limit: Limit
    quota: Quota
    step: Step


@record
class Assessment:
    """What the pure core makes of facts and subject, before any counter is touched."""

    values: tuple[object, ...]  # of Policy.signals, by position
    findings: tuple[Finding, ...]
    plan: tuple[PlannedStep, ...]


@record
class LimitState:
    """One limit as the caller may see it: an enforced one, of its account or organization."""

    name: str
    cost: Cost
    quota: Quota
    remaining: int
    reset_after_us: int


@record
class Decision:
    """The answer to one request, and everything needed to explain and settle it."""

    decision_id: str
    verdict: Verdict
    would_be: Verdict
    reason: str  # the deciding rule's name; "ok" when allowed
    findings: tuple[Finding, ...]
    subject: Subject | None
    key_id: str | None
    policy_revision: str
    decided_us: int
    status: int = 200
    message: str = ""
    level: Level | None = None
    retry_after_us: int = 0
    degraded: bool = False
    degraded_limits: tuple[str, ...] = ()
    shadow_all: bool = False
    values: tuple[object, ...] = ()
    plan: tuple[PlannedStep, ...] = ()
    results: tuple[StepResult, ...] = ()
    applied: bool = False

    @property
    def is_served(self) -> bool:
        """Exactly the allowed requests reach the upstream."""
        return self.verdict is Verdict.ALLOW


class Outcome(StrEnum):
    """How the exchange ended, for the log and the metrics."""

    COMPLETE = "complete"
    REFUSED = "refused"
    CLIENT_LEFT = "client_left"
    UPSTREAM_FAILED = "upstream_failed"
    UNSETTLED = "unsettled"  # a data plane never told how it ended


@record
class Timings:
    """Durations of one exchange: the decision, the upstream until its answer's head (None when
    not reached), and all of it."""

    decision_us: int = 0
    upstream_us: int | None = None
    request_us: int = 0


@record
class Exchange:
    """What became of a decided request; handed to the recorder when it is over."""

    facts: RequestFacts
    decision: Decision
    outcome: Outcome
    usage: Usage
    upstream_status: int | None
    finished_us: int
    timings: Timings = Timings()
