"""Every innocent class really has what makes it look guilty: the traffic says so, not its label."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.loadtests.worlds.load import LIBRARY, load_plan
from gateway.loadtests.worlds.world import World
from gateway.workers.traffic import LoggedRequest

from .builders import body_of, write_scenario

ISSUED = re.compile(rb'"(?:id|call_id)": ?"((?:call|toolu|msg|resp)_[A-Za-z0-9]+)"')


@dataclass(slots=True)
class Seen:
    """What a class showed in a day. `foreign`: artefacts that came back on another account."""

    records: list[dict[str, Any]] = field(default_factory=list)
    requests: list[LoggedRequest] = field(default_factory=list)
    foreign: int = 0

    def by_account(self, of: Callable[[LoggedRequest], object]) -> dict[str, set[object]]:
        found: dict[str, set[object]] = defaultdict(set)
        for request in self.requests:
            found[request.account_id].add(of(request))
        return found

    def accounts_by(self, of: Callable[[LoggedRequest], object]) -> Counter[object]:
        """How many accounts show each value."""
        return Counter(value for values in self.by_account(of).values() for value in values)

    def most_shared(self, name: str) -> int:
        """How many accounts have the commonest value of a fact."""
        return max(Counter(r[name] for r in self.records if r[name] is not None).values())


def system_of(request: LoggedRequest) -> str:
    body = body_of(request)
    first = (body.get("messages") or [{}])[0]
    inline = first.get("content") if first.get("role") == "system" else ""
    return str(body.get("system") or body.get("instructions") or inline)


def opening_of(request: LoggedRequest) -> str:
    body = body_of(request)
    turns = body.get("messages") or body.get("input") or []
    users = [t["content"] for t in turns if isinstance(t, dict) and t.get("role") == "user"]
    return str(users[0]) if users else ""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    path = write_scenario(tmp_path_factory.mktemp("classes"))
    shipped = (LIBRARY / "populations" / "look-alikes.yaml").read_bytes()
    (path.parent / "people.yaml").write_bytes(shipped)
    path.write_bytes(path.read_bytes().replace(b'"accounts":120', b'"accounts":1400'))
    world = World(load_plan(path))
    classes = {label["account_id"]: label["class"] for label in world.labels()}
    found: dict[str, Seen] = defaultdict(Seen)
    for record in [*world.accounts(), *(e for e in world.events() if e["event"] == "created")]:
        found[classes[record["account_id"]]].records.append(record)
    owners: dict[bytes, str] = {}
    for request, _ in world.exchanges():
        one = found[classes[request.account_id]]
        one.requests.append(request)
        returned = set(ISSUED.findall(bytes(request.body)))
        one.foreign += any(
            owners.get(i, request.account_id) != request.account_id for i in returned
        )
        assert request.response is not None
        for issued in ISSUED.findall(bytes(request.response.body)):
            owners[issued] = request.account_id
    return dict(found)


def address(request: LoggedRequest) -> object:
    return request.client_ip


def _crowded_address(one: Seen) -> bool:
    return max(one.accounts_by(address).values()) >= 8


def _one_prompt_everywhere(one: Seen) -> bool:
    systems = one.accounts_by(system_of)
    systems.pop("", None)
    return max(systems.values()) > 0.25 * len(one.by_account(system_of))


def _crossing(one: Seen) -> bool:
    return one.foreign > 0.005 * len(one.requests)


def _restless(one: Seen) -> bool:
    return max(map(len, one.by_account(address).values())) >= 10


def _same_questions(one: Seen) -> bool:
    return max(one.accounts_by(opening_of).values()) >= 4


def _nightly(one: Seen) -> bool:
    hours = Counter(int(r.ts // 3600) for r in one.requests)
    return sum(count for _, count in hours.most_common(8)) > 0.6 * hours.total()


def _repeated(one: Seen) -> bool:
    texts = Counter(opening_of(r) for r in one.requests if b"assistant" not in bytes(r.body))
    return len(texts) < 0.5 * texts.total()


def _round_the_clock(one: Seen) -> bool:
    hours = Counter(int(r.ts // 3600) for r in one.requests)
    return len(hours) == 24 and min(hours.values()) > 0.2 * max(hours.values())


def _under(contract: str) -> Callable[[Seen], bool]:
    return lambda one: all(record["contracts"] == [contract] for record in one.records)


def _many_users(one: Seen) -> bool:
    users = Counter(str(body_of(r).get("metadata") or body_of(r).get("user")) for r in one.requests)
    return len(users) > 100


def _foreign_networks(one: Seen) -> bool:
    from gateway.loadtests.worlds.networks import load_addresses

    pool = load_addresses(None)
    vpn = {pool.draw_shared(_Fixed(n / 64), 1, k, c) for n in range(64) for k, c in _EXITS}
    return sum(r.client_ip in vpn for r in one.requests) > 0.8 * len(one.requests)


def _by_the_clock(one: Seen) -> bool:
    """Some accounts send at the same minute of every hour."""
    found = 0
    for sent in one.by_account(lambda request: request.ts).values():
        minutes = [float(str(at)) % 3600 for at in sent]
        found += len(sent) >= 12 and max(minutes) - min(minutes) < 120
    return found >= 3


_EXITS = [("vpn", c) for c in ("SE", "GB", "US")] + [("privacy_proxy", "US")]


class _Fixed(Random):
    """A source of chance that always says the same."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self._value = value

    def random(self) -> float:
        return self._value


CLAIMS: list[tuple[str, Callable[[Seen], bool]]] = [
    ("harness-users", _one_prompt_everywhere),
    ("evaluation-suites", _nightly),
    ("evaluation-suites", _repeated),
    ("ci-agents", _restless),
    ("classrooms", _crowded_address),
    ("classrooms", _same_questions),
    ("classrooms", lambda one: one.most_shared("email_domain") >= 12),
    ("classrooms", lambda one: one.most_shared("signup_ip") >= 12),
    ("cohorts", _crowded_address),
    ("cohorts", lambda one: one.most_shared("signup_ip") >= 10),
    ("agencies", lambda one: one.most_shared("payment_fingerprint") >= 4),
    ("key-rotators", _crossing),
    ("key-rotators", lambda one: one.most_shared("org_id") >= 2),
    ("aggregators", _crossing),
    ("aggregators", _many_users),
    ("aggregators", _under("aggregator")),
    ("synthetic-data", _under("synthetic-data")),
    ("synthetic-data", _round_the_clock),
    ("migrations", _round_the_clock),
    ("translation", _one_prompt_everywhere),
    ("scheduled-jobs", _one_prompt_everywhere),
    ("scheduled-jobs", _by_the_clock),
    ("carrier-nat", _restless),
    ("private-staff", _foreign_networks),
    ("travellers", lambda one: max(map(len, one.by_account(address).values())) >= 2),
]


@pytest.mark.parametrize(
    ("name", "looks_guilty"), CLAIMS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(CLAIMS)]
)
def test_a_class_really_looks_guilty(
    seen: dict[str, Seen], name: str, looks_guilty: Callable[[Seen], bool]
) -> None:
    assert looks_guilty(seen[name])


def test_ordinary_customers_do_not(seen: dict[str, Seen]) -> None:
    one = seen["ordinary"]
    assert one.foreign == 0
    assert not _one_prompt_everywhere(one)
    assert not _repeated(one)
    assert one.most_shared("payment_fingerprint") == 1


@pytest.mark.parametrize("name", ["everyone", "look-alikes"])
def test_the_populations_hold_every_class_of_the_threat_model(tmp_path: Path, name: str) -> None:
    path = write_scenario(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"people.yaml", name.encode()))
    classes = {one.name for one in load_plan(path).population.classes}
    assert classes >= {name for name, _ in CLAIMS} | {"ordinary", "explain-reasoning"}
