"""What may stand in a scenario, a population and a campaign, key by key.

Ratios and chances are 0..1, rates are exchanges per account and day, ages are days.
"""

# ruff: noqa: RUF012 - pydantic copies defaults

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ...policy.schema import Raw

NAME_PATTERN = "^[a-z0-9][a-z0-9-]{0,39}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Why = Annotated[str, Field(min_length=10, max_length=2000)]
Share = Annotated[float, Field(ge=0, le=1)]
Weights = Annotated[dict[str, Annotated[float, Field(ge=0)]], Field(min_length=1, max_length=40)]
Bounds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]
Day = Literal["fitted", "office", "evening", "waking", "night", "school", "flat", "shifts"]
PoolDay = Literal["office", "evening", "waking", "night", "school", "flat", "shifts"]
Shared = Literal[
    "payer", "mail", "org", "signup-address", "signup-burst", "app", "address", "client", "users"
]
AddressUse = Literal["own", "session", "carrier", "group"]


class RawRate(Raw):
    """Mean exchanges per account and day; `heavy` rates differ by orders of magnitude between
    accounts, `even` ones by a third."""

    per_day: Annotated[float, Field(gt=0, le=50_000)]
    tail: Literal["heavy", "even"] = "heavy"


class RawApps(Raw):
    """The applications behind an account and what they ask.

    `template`: whose prompt and tools these are: each account's own, the group's, or one that the
    whole class took from the same public place. `fixed_items`: so many prompts, the same again
    and again, as a suite or an assignment has them; 0: always others.
    """

    tasks: Weights
    count: Bounds = [1, 2]
    turns: Annotated[float, Field(ge=1, le=30)] = 2.5
    template: Literal["account", "group", "class"] = "account"
    streams: Share = 0.5
    thinking: Share = 0.15
    tools: Share = 0.1
    carries_history: Share = 1.0
    fixed_items: Annotated[int, Field(ge=0, le=2000)] = 0


class RawUsers(Raw):
    """Share of accounts that name their end users, and how many those have."""

    share: Share = 0.25
    count: Bounds = [3, 40]


class RawGroup(Raw):
    """Accounts of one hand that is allowed to hold them, and what they have in common."""

    size: Bounds = [1, 1]
    shares: Annotated[list[Shared], Field(max_length=9)] = []


class RawJob(Raw):
    """A program that calls by the clock, every `every_min` minutes.

    `at`: the minute of the account's own choice, the beginning of the period (`top`), or `turn`:
    one worker of a product begins with the period and takes its customers one after another,
    always in one order, some `step_s` seconds each. `late_min`: up to so much later, each run by
    itself; `queue_min`: on average so much later, all runs of one period alike. `loops`: the next
    run comes `every_min` after the last one ended, which took up to `late_min`; `at` says nothing
    then. `calls` of one run.
    """

    every_min: Annotated[float, Field(ge=1, le=10_080)]
    weight: Annotated[float, Field(gt=0)] = 1.0
    at: Literal["own", "top", "turn"] = "own"
    step_s: Annotated[float, Field(gt=0, le=3600)] = 20.0
    late_min: Annotated[float, Field(ge=0, le=1440)] = 1.0
    queue_min: Annotated[float, Field(ge=0, le=1440)] = 0.0
    loops: bool = False
    calls: Bounds = [1, 1]


class RawFacts(Raw):
    """What the platform knows of an account. `age_days` at the start of the scenario; negative
    in `joins_days`: accounts that sign up on the way, over that many days."""

    tiers: Weights = {"start": 0.7, "build": 0.25, "scale": 0.05}
    verification: Weights = {"none": 0.04, "email": 0.2, "phone": 0.16, "payment": 0.6}
    mail: Weights = {"company": 0.5, "free": 0.47, "disposable": 0.01, "education": 0.02}
    paths: Weights = {"standard": 0.94, "startup": 0.03, "education": 0.02, "research": 0.01}
    age_days: Bounds = [5, 900]
    joins: Share = 0.02
    organization: Share = 0.3
    contracts: Annotated[list[str], Field(max_length=8)] = []
    sub_users: bool = False


class RawClass(Raw):
    """One class of customers. `why` tells what makes it look guilty although it is not.

    `moves`: chance that a call goes on with a conversation of another account of the group.
    `fails_over`: chance that a failed request goes to another account of the group. `pastes`:
    chance that a prompt quotes an answer that somebody else was given. `travels`: share of
    accounts that spend some days of the scenario abroad. `jobs`: each account runs one of these, on
    top of its `rate`.
    """

    name: Name
    why: Why
    share: Annotated[float, Field(gt=0, le=1)]
    rate: RawRate
    day: Day = "fitted"
    weekend: Share = 0.6
    apps: RawApps
    languages: Weights = {"en": 0.6, "de": 0.08, "fr": 0.08, "es": 0.08, "zh": 0.08, "ja": 0.08}
    dialects: Weights = {"chat": 0.45, "responses": 0.15, "messages": 0.34, "embeddings": 0.06}
    clients: Weights = {
        "sdk-python": 0.42,
        "sdk-python-async": 0.12,
        "sdk-node": 0.2,
        "vercel-ai": 0.06,
        "requests": 0.06,
        "httpx": 0.03,
        "aiohttp": 0.03,
        "go": 0.03,
        "axios": 0.03,
        "curl": 0.02,
    }
    networks: Weights = {
        "residential": 0.3,
        "office": 0.22,
        "hosting": 0.34,
        "mobile": 0.08,
        "vpn": 0.04,
        "privacy_proxy": 0.02,
    }
    addresses: AddressUse = "own"
    keys: Bounds = [1, 3]
    users: RawUsers = RawUsers()
    group: RawGroup = RawGroup()
    moves: Share = 0.0
    fails_over: Share = 0.0
    pastes: Share = 0.004
    travels: Share = 0.03
    jobs: Annotated[list[RawJob], Field(max_length=20)] = []
    facts: RawFacts = RawFacts()


class RawPopulation(Raw):
    """Customers by class; the shares sum to one."""

    version: Literal[1]
    name: Name
    why: Why
    classes: Annotated[list[RawClass], Field(min_length=1, max_length=60)]


class RawTemplate(Raw):
    """A fixed prompt: sentences in which `[a|b|c]` are wordings of one thing. `plain` campaigns
    always write the first; paraphrase draws anew."""

    system: Annotated[list[str], Field(min_length=1, max_length=40)]
    user: Annotated[list[str], Field(min_length=1, max_length=20)] = ["{item}"]


class RawTask(Raw):
    kind: str
    weight: Annotated[float, Field(gt=0)] = 1.0
    turns: Annotated[float, Field(ge=1, le=30)] = 1.0
    template: RawTemplate | None = None
    temperature: float | None = None
    max_tokens: Annotated[int, Field(ge=1, le=128_000)] | None = None
    thinking: Share = 0.0
    tools: str | None = None


class RawRelay(Raw):
    """How the operator spreads work. `affine`: a conversation stays on its account. `standby`:
    share of accounts kept back to replace `bans_per_day` of the active ones. `outages_per_day`:
    when the relay is down, for a quarter of an hour or so, all of its accounts are silent."""

    dispatch: Literal["round-robin", "random", "affine"] = "round-robin"
    failover: Share = 1.0
    failover_s: Annotated[
        list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)
    ] = [
        0.2,
        3.0,
    ]
    standby: Share = 0.1
    bans_per_day: Share = 0.002
    replaced_within_h: Annotated[float, Field(ge=0, le=240)] = 6.0
    outages_per_day: Annotated[float, Field(ge=0, le=50)] = 0.5


class RawExits(Raw):
    """`each`: one exit per account; `shared`: `per_exit` accounts leave by one address."""

    kind: Weights = {"residential": 1.0}
    use: Literal["each", "shared", "session"] = "each"
    per_exit: Annotated[int, Field(ge=1, le=100_000)] = 40


class RawImitation(Raw):
    """Clients whose headers are imitated; `tls` own: the relay's stack shows through JA4."""

    families: Weights = {"sdk-python": 0.6, "sdk-node": 0.4}
    tls: Literal["own", "imitated"] = "own"
    per_account: bool = False


class RawCampaignFacts(Raw):
    """What the pool's accounts show. `per_payer` accounts pay by one instrument; `conflicts`: the
    share whose exit stands in another country than they say they live in."""

    per_payer: Annotated[int, Field(ge=1, le=100_000)] = 12
    per_domain: Annotated[int, Field(ge=1, le=100_000)] = 60
    per_signup_address: Annotated[int, Field(ge=1, le=100_000)] = 8
    per_burst: Annotated[int, Field(ge=1, le=100_000)] = 150
    mail: Weights = {"free": 0.55, "company": 0.3, "disposable": 0.15}
    tiers: Weights = {"start": 0.85, "build": 0.15}
    verification: Weights = {"email": 0.45, "phone": 0.25, "payment": 0.3}
    paths: Weights = {"standard": 0.8, "education": 0.08, "startup": 0.08, "research": 0.04}
    countries: Annotated[list[str], Field(max_length=60)] = []
    conflicts: Share = 0.15


class RawKnobs(Raw):
    """The evasions of the threat model, all off by default; each is one rung of a ladder.

    `split` pools that share nothing · `paraphrase` share of requests worded anew · `own_exits`
    and `own_tls` per account · `human_day` · `aged_days` · `mixing` strangers' exchanges per one
    of the campaign · `encoding` of the fixed prompt · `user_ids` · `packing` tasks in one call ·
    `moves_to` a model on `moves_on_day` · `probing` share of exchanges that test limits ·
    `unique_templates` · `organic` share of the operator's own users' conversations · `affine` ·
    `replaced_daily` share of the pool · `frames` a class whose template is copied · `launders`
    tool ids · `strips` client metadata.
    """

    split: Annotated[int, Field(ge=1, le=5000)] = 1
    paraphrase: Share = 0.0
    own_exits: bool = False
    own_tls: bool = False
    human_day: bool = False
    aged_days: Annotated[int, Field(ge=0, le=2000)] = 0
    mixing: Annotated[float, Field(ge=0, le=50)] = 0.0
    encoding: Literal["none", "zero-width", "homoglyphs", "base64"] = "none"
    user_ids: Literal["none", "random", "account", "tenants"] = "none"
    packing: Annotated[int, Field(ge=1, le=40)] = 1
    moves_to: str | None = None
    moves_on_day: Annotated[float, Field(ge=0)] = 0.0
    probing: Share = 0.0
    unique_templates: bool = False
    organic: Share = 0.0
    affine: bool = False
    replaced_daily: Share = 0.0
    frames: str | None = None
    launders: bool = False
    strips: bool = False


class RawPivot(Raw):
    """On the release of a model, `share` of the traffic goes to it within `within_h`."""

    share: Share = 0.5
    within_h: Annotated[float, Field(gt=0, le=72)] = 24.0


class RawCampaign(Raw):
    """One campaign at full size. `allegation` says who alleges what, and that it is contested."""

    version: Literal[1]
    name: Name
    why: Why
    source: Annotated[str, Field(min_length=10, max_length=1000)]
    allegation: Annotated[str, Field(min_length=10, max_length=2000)]
    assumed: Annotated[str, Field(min_length=10, max_length=2000)]
    accounts: Annotated[int, Field(ge=1, le=1_000_000)]
    exchanges: Annotated[int, Field(ge=1, le=1_000_000_000)]
    days: Annotated[float, Field(gt=0, le=1000)]
    at_start: Share = 0.4
    grows_days: Annotated[float, Field(ge=0)] = 7.0
    day: PoolDay = "flat"
    models: Weights
    pivot: RawPivot | None = None
    dialects: Weights
    languages: Weights = {"en": 0.7, "zh": 0.1, "de": 0.05, "fr": 0.05, "es": 0.05, "ja": 0.05}
    tasks: Annotated[list[RawTask], Field(min_length=1, max_length=40)]
    streams: Share = 0.4
    relay: RawRelay = RawRelay()
    exits: RawExits = RawExits()
    clients: RawImitation = RawImitation()
    facts: RawCampaignFacts = RawCampaignFacts()
    knobs: RawKnobs = RawKnobs()


class RawCustomers(Raw):
    """`file` names a population of the library, or a file beside the scenario; `activity`
    multiplies the rate of every class."""

    file: str
    accounts: Annotated[int, Field(ge=1, le=2_000_000)]
    activity: Annotated[float, Field(gt=0, le=100)] = 1.0


class RawReacts(Raw):
    """What an operator does about refusals, in `hydragate simulate` alone. Nobody publishes any of
    it: every default is an assumption of ours.

    `verifies`: share of accounts that pass a verification when asked; the others are lost.
    `buys_daily`: accounts newly made in a day to replace lost ones, as a share of the pool's; an
    account costs `account_price`, in the unit of the script's prices. Since the first refusal no
    account is driven at more than `presses` times the pool's usual rate a day, however few are
    left. Where over six hours less than `slows_below` of what was sent is served, only `slows_to`
    of the work is sent from then on.
    """

    verifies: Share = 0.3
    buys_daily: Annotated[float, Field(ge=0, le=10)] = 0.05
    account_price: Annotated[float, Field(ge=0, le=1_000_000)] = 3.0
    presses: Annotated[float, Field(gt=0, le=1_000_000)] = 3.0
    slows_below: Share = 0.2
    slows_to: Share = 0.5


class RawEntry(Raw):
    """A campaign of the scenario: from `file`, at `scale` of its accounts, begun at `begins_day`;
    `with` sets knobs over the file's own, `reacts` how it answers refusals."""

    file: str
    scale: Annotated[float, Field(gt=0, le=10)] = 1.0
    begins_day: Annotated[float, Field(ge=0)] = 0.0
    knobs: RawKnobs | None = None
    reacts: RawReacts = RawReacts()


class RawRelease(Raw):
    """A model that comes out on the way; customers try it as well."""

    model: str
    day: Annotated[float, Field(ge=0)]
    curious: Share = 0.12


class RawScenario(Raw):
    """Who, what, when: everything that a world is made from, together with the seed.

    `text_limit_bytes`: prompts and answers are as long as in real traces, up to this; the default
    gives bodies of one or two kilobytes. `faults`: share of requests that the model API fails.
    `bodies`, `answers`, `ja4`: whether the log keeps them.
    """

    version: Literal[1]
    name: Name
    why: Why
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    start: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")]
    days: Annotated[float, Field(gt=0, le=400)]
    scale: Annotated[float, Field(gt=0, le=10)] = 1.0
    population: RawCustomers
    campaigns: Annotated[list[RawEntry], Field(max_length=40)] = []
    release: RawRelease | None = None
    faults: Share = 0.004
    bodies: bool = True
    answers: bool = True
    text_limit_bytes: Annotated[int, Field(ge=60, le=200_000)] = 1200
    ja4: bool = True
    data_dir: str | None = None


class RawHonestTerms(Raw):
    """How long until a person has done it, and how many of 1000 never do."""

    delay_s: Annotated[float, Field(ge=0, le=100 * 86_400)]
    gives_up_per_mille: Annotated[int, Field(ge=0, le=1000)] = 0


class RawOperatorTerms(Raw):
    """How long an operator takes, and what a proof costs that settles `serves` accounts at most."""

    delay_s: Annotated[float, Field(ge=0, le=100 * 86_400)]
    serves: Annotated[int, Field(ge=1, le=100_000)]
    price_usd: Annotated[float, Field(ge=0, le=1_000_000)]


class RawHonestSteps(Raw):
    email: RawHonestTerms
    phone: RawHonestTerms
    payment: RawHonestTerms
    identity: RawHonestTerms
    organization: RawHonestTerms


class RawOperatorSteps(Raw):
    email: RawOperatorTerms
    phone: RawOperatorTerms
    payment: RawOperatorTerms
    identity: RawOperatorTerms
    organization: RawOperatorTerms


class RawScript(Raw):
    """What verification takes, level by level (`friction.yaml`): assumptions of ours, all of it."""

    version: Literal[1]
    honest: RawHonestSteps
    operator: RawOperatorSteps
