"""An account as its requests show it: keys, clients, addresses, applications, end users.

A face follows from the seed and the account's number, so that it can be forgotten and made again;
`Faces` keeps a bounded number of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .apps import App, Author, own_prompt, parameters, tool_set
from .clients import HOSTS, Client, draw_client
from .days import DAY_S
from .facts import account_id
from .load import Plan
from .models import draw_model
from .networks import AddressPool
from .phrases import inside_json
from .roster import ClassBlock, Customers, Home
from .schema import AddressUse, RawClass
from .seeds import Weighted, hex_digits, python_rng
from .tasks import Suite, Writer, items_of, kinds

MAX_FACES = 250_000
SHARED_BY_NATURE = ("mobile", "vpn", "privacy_proxy")
CLASS_TEMPLATES = 2
CLASS_VARIANTS = 3


@dataclass(frozen=True, slots=True)
class Trip:
    """Days abroad, in a hotel or on a foreign carrier."""

    from_s: float
    until_s: float
    address: str


@dataclass(slots=True)
class Face:
    """`users` are the end users that its requests name, escaped; None: it names none."""

    index: int
    account_id: str
    keys: list[str]
    clients: dict[str, Client]
    addresses: list[str]
    home: Home
    use: AddressUse
    apps: list[App]
    users: list[bytes] | None
    group_first: int
    group_size: int
    born_s: float
    trip: Trip | None
    raw: RawClass

    def address(self, rng: Random, pool: AddressPool, seed: int, at_s: float) -> str:
        """The address of a conversation that begins at `at_s`."""
        trip, home = self.trip, self.home
        if trip is not None and trip.from_s <= at_s < trip.until_s:
            return trip.address
        if self.use == "session":
            return pool.draw(rng, home.kind, home.country)
        if self.use == "carrier":
            return pool.draw_shared(rng, seed, home.kind, home.country)
        if len(self.addresses) == 1 or rng.random() < 0.85:
            return self.addresses[0]
        return self.addresses[int(rng.random() * len(self.addresses))]

    def key(self, rng: Random) -> str:
        keys = self.keys
        return keys[0] if len(keys) == 1 else keys[int(rng.random() * len(keys))]


class ClassMaker:
    """Makes the faces of one class."""

    def __init__(self, block: ClassBlock, plan: Plan, pool: AddressPool) -> None:
        raw = block.raw
        self._block, self._plan, self._pool = block, plan, pool
        self._tasks = Weighted(raw.apps.tasks)
        self._dialects = Weighted(raw.dialects)
        self._languages = Weighted(raw.languages)
        self._clients = Weighted(raw.clients)
        self._public: dict[tuple[str, int], App] = {}

    def face(self, index: int) -> Face:
        block, raw, seed = self._block, self._block.raw, self._plan.seed
        group, first, size = block.group_of(index)
        own = python_rng(seed, "face", index)
        ours = python_rng(seed, raw.name, "group", group)
        home = block.home(index, self._pool)
        apps = self._apps(own, ours)
        client_rng = ours if block.shares("client") else own
        family = self._clients.draw(client_rng)
        clients = {app.dialect: client_for(client_rng, family, app.dialect) for app in apps}
        address_rng = ours if block.shares("address") else own
        count = 1 if block.shares("address") or own.random() < 0.5 else own.randint(2, 3)
        addresses = [self._pool.draw(address_rng, home.kind, home.country) for _ in range(count)]
        return Face(
            index=index,
            account_id=account_id(seed, index),
            keys=block.keys(index),
            clients=clients,
            addresses=addresses,
            home=home,
            use=_use_of(raw, home),
            apps=apps,
            users=self._users(ours if block.shares("users") else own),
            group_first=first,
            group_size=size,
            born_s=block.created_s(index),
            trip=self._trip(own, home),
            raw=raw,
        )

    def _trip(self, rng: Random, home: Home) -> Trip | None:
        plan = self._plan
        if rng.random() >= self._block.raw.travels:
            return None
        from_s = plan.start_s + rng.random() * plan.days * DAY_S
        abroad = [c for c in self._pool.countries("residential") if c != home.lives_in]
        kind = "mobile" if rng.random() < 0.4 else "residential"
        address = self._pool.draw(rng, kind, rng.choice(abroad))
        return Trip(from_s, from_s + rng.uniform(1, 8) * DAY_S, address)

    def _apps(self, own: Random, ours: Random) -> list[App]:
        template = self._block.raw.apps.template
        rng = ours if template == "group" or self._block.shares("app") else own
        count = rng.randint(*self._block.raw.apps.count)
        if template == "class":
            return [self._public_app(own) for _ in range(count)]
        return [self._app(rng) for _ in range(count)]

    def _public_app(self, rng: Random) -> App:
        """One of the few released versions of what the whole class uses."""
        dialect, variant = self._dialects.draw(rng), rng.randrange(CLASS_VARIANTS)
        key = (dialect, variant)
        if key not in self._public:
            version = variant % CLASS_TEMPLATES
            path = (self._block.raw.name, "template", version)
            self._public[key] = self._app(python_rng(self._plan.seed, *path), dialect, variant)
        return self._public[key]

    def own_app(self, rng: Random) -> App:
        """An application as an account of this class would have it."""
        return self._app(rng)

    def _app(self, rng: Random, dialect: str | None = None, variant: int = 0) -> App:
        spec = self._block.raw.apps
        spoken = self._dialects.draw(rng)
        if dialect is None:
            dialect = spoken
        kind = kinds()["embed" if dialect == "embeddings" else self._tasks.draw(rng)]
        language = self._languages.draw(rng)
        writer = Writer(kind, language, items_of(kind.data, self._plan.data_dir))
        system = own_prompt(rng, kind, writer.grammar)
        has_tools = kind.answer == "tool" or rng.random() < spec.tools
        tools = tool_set(rng, kind.tools, is_own=spec.template != "class") if has_tools else ()
        thinking = rng.random() < spec.thinking and kind.answer != "none"
        author: Author = Suite(writer, rng, spec.fixed_items) if spec.fixed_items else writer
        # Versions of one public prompt differ in their parameters only.
        rng.seed(rng.getrandbits(63) + variant)
        streams = rng.random() < spec.streams and dialect != "embeddings"
        return App(
            dialect=dialect,
            kind=kind,
            author=author,
            system=b"" if dialect == "embeddings" else system,
            tools=() if dialect == "embeddings" else tools,
            params=parameters(rng, dialect, kind, streams=streams, thinking=thinking),
            history_at=rng.choice((0, 1, 1, 2, 9)),
            turns=1.0 if dialect == "embeddings" else spec.turns,
            streams=streams,
            thinking=thinking,
            is_chained=dialect == "responses" and rng.random() < 0.4,
            carries_history=rng.random() < spec.carries_history,
            model=draw_model(rng, dialect),
            names_safety_id=dialect == "chat" and rng.random() < 0.35,
        )

    def _users(self, rng: Random) -> list[bytes] | None:
        """Ids as applications make them: a hash, a number or a UUID, the same way throughout."""
        spec = self._block.raw.users
        if rng.random() >= spec.share:
            return None
        count, form = rng.randint(*spec.count), rng.randrange(3)
        return [user_id(rng, form) for _ in range(max(1, count))]


def _use_of(raw: RawClass, home: Home) -> AddressUse:
    """Carriers, VPNs and proxies share their addresses, whatever the class has at home."""
    if raw.addresses == "own" and home.kind in SHARED_BY_NATURE:
        return "carrier"
    return raw.addresses


def user_id(rng: Random, form: int) -> bytes:
    if form == 0:
        return b"user_" + hex_digits(rng, 24).encode()
    if form == 1:
        return b"%d" % rng.randrange(10_000, 10_000_000)
    text = hex_digits(rng, 32)
    parts = (text[:8], text[8:12], text[12:16], text[16:20], text[20:])
    return inside_json("-".join(parts))


def client_for(rng: Random, family: str, dialect: str, *, tls: str | None = None) -> Client:
    """An installation of that kind of client that speaks the dialect."""
    names = {
        "sdk-python": ("openai-python", "anthropic-python"),
        "sdk-python-async": ("openai-python-async", "anthropic-python"),
        "sdk-node": ("openai-node", "anthropic-node"),
    }.get(family)
    if names is not None:
        family = names[dialect == "messages"]
    host = HOSTS["anthropic" if dialect == "messages" else "openai"]
    return draw_client(rng, family, host, tls=tls)


class Faces:
    """Faces by account, at most `capacity` of them; the rest are made again when needed."""

    def __init__(
        self, customers: Customers, plan: Plan, pool: AddressPool, *, capacity: int = MAX_FACES
    ) -> None:
        self._customers = customers
        self._makers = {block.first: ClassMaker(block, plan, pool) for block in customers.blocks}
        self._kept: dict[int, Face] = {}
        self._capacity = capacity

    def maker_of(self, block: ClassBlock) -> ClassMaker:
        return self._makers[block.first]

    def of(self, index: int) -> Face:
        face = self._kept.get(index)
        if face is None:
            block = self._customers.block_of(index)
            face = self._makers[block.first].face(index)
            if len(self._kept) >= self._capacity:
                self._kept.clear()  # cheaper than an order of use, and as rare
            self._kept[index] = face
        return face
