"""Who is in the world: accounts by number, in blocks of one class or one pool.

Everything about an account follows from the seed and its number, so that only numbers are kept.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .days import DAY_S
from .facts import (
    account_id,
    key_ids,
    mail_domain,
    organization_id,
    payment_fingerprint,
    verification,
)
from .load import Plan
from .networks import AddressPool
from .schema import RawClass
from .seeds import Weighted, numpy_rng, python_rng

ZONES_H = {"US": -6, "CA": -5, "MX": -6, "BR": -3, "GB": 0, "NG": 1, "MA": 0, "EG": 2, "ZA": 2}
ZONES_H |= {"TR": 3, "IN": 5, "VN": 7, "ID": 7, "PH": 8, "TW": 8, "JP": 9, "KR": 9, "AU": 10}


ELSEWHERE = ("hosting", "vpn", "privacy_proxy")
SAME_COUNTRY = 0.4


def zone_s(country: str) -> float:
    """Local time less UTC; Europe's 1 hour where nothing else is said."""
    return ZONES_H.get(country, 1) * 3600.0


@dataclass(frozen=True, slots=True)
class Home:
    """Where an account calls from. `lives_in` is the country of whoever is behind it: servers,
    VPNs and proxies stand elsewhere."""

    kind: str
    country: str
    lives_in: str


class ClassBlock:
    """The accounts of one class, `first` to `first + count`, in groups of one hand."""

    def __init__(self, raw: RawClass, plan: Plan, first: int, count: int) -> None:
        self.raw = raw
        self.first = first
        self.count = count
        self._plan = plan
        self._starts = _group_starts(raw, plan.seed, count)
        self._networks = Weighted(raw.networks)
        self._draws = {
            name: Weighted(getattr(raw.facts, name))
            for name in ("tiers", "verification", "mail", "paths")
        }

    def group_of(self, index: int) -> tuple[int, int, int]:
        """The group's number, its first account and its size."""
        at = index - self.first
        group = int(np.searchsorted(self._starts, at, side="right")) - 1
        start = int(self._starts[group])
        end = int(self._starts[group + 1]) if group + 1 < len(self._starts) else self.count
        return group, self.first + start, end - start

    def shares(self, what: str) -> bool:
        return what in self.raw.group.shares

    def home(self, index: int, addresses: AddressPool) -> Home:
        """Members of a group that shares its address share their network as well."""
        group, _, _ = self.group_of(index)
        path = ("home", "g", group) if self.shares("address") else ("home", index)
        rng = python_rng(self._plan.seed, self.raw.name, *path)
        kind = self._networks.draw(rng)
        country = rng.choice(addresses.countries(kind))
        if kind not in ELSEWHERE or rng.random() < SAME_COUNTRY:
            return Home(kind, country, country)
        return Home(kind, country, rng.choice(addresses.countries("residential")))

    def created_s(self, index: int) -> float:
        """When the account signed up; after the start for those who join on the way."""
        facts, plan = self.raw.facts, self._plan
        group, _, _ = self.group_of(index)
        bursts = self.shares("signup-burst")
        rng = python_rng(
            plan.seed, self.raw.name, "born", "g" if bursts else "a", group if bursts else index
        )
        if rng.random() < facts.joins:
            born = plan.start_s + rng.random() * plan.days * DAY_S
        else:
            low, high = facts.age_days
            born = plan.start_s - (low + rng.random() * (high - low)) * DAY_S
        if bursts:
            born += python_rng(plan.seed, "burst", index).random() * 7200.0
        return float(int(born))

    def record(self, index: int, addresses: AddressPool) -> dict[str, Any]:
        """Accounts v1."""
        raw, seed = self.raw, self._plan.seed
        group, _, _ = self.group_of(index)
        own = python_rng(seed, "facts", index)
        ours = python_rng(seed, raw.name, "facts", group)
        home = self.home(index, addresses)
        level = self._draws["verification"].draw(own)
        pays = level in ("payment", "identity", "organization") or self.shares("payer")
        mail_rng = ours if self.shares("mail") else own
        signup_rng = ours if self.shares("signup-address") else own
        org_rng = ours if self.shares("org") else own
        signup_kind = "residential" if home.kind in ELSEWHERE else home.kind
        payment = payment_fingerprint(ours if self.shares("payer") else own)
        is_org = self.shares("org") or own.random() < raw.facts.organization
        country = home.lives_in
        return {
            "account_id": account_id(seed, index),
            "created_at": int(self.created_s(index)),
            "org_id": organization_id(org_rng) if is_org else None,
            "tier": self._draws["tiers"].draw(own),
            "billing_country": country if pays else None,
            "email_domain": mail_domain(mail_rng, self._draws["mail"].draw(mail_rng)),
            "phone_country": country if own.random() < 0.5 else None,
            "payment_fingerprint": payment if pays else None,
            "signup_ip": addresses.draw(signup_rng, signup_kind, country),
            "signup_path": self._draws["paths"].draw(ours if raw.group.shares else own),
            "verification": verification(own, level),
            "key_ids": self.keys(index),
            "sub_users": raw.facts.sub_users,
            "contracts": list(raw.facts.contracts),
        }

    def keys(self, index: int) -> list[str]:
        rng = python_rng(self._plan.seed, "keys", index)
        return key_ids(rng, rng.randint(*self.raw.keys))


def _group_starts(raw: RawClass, seed: int, count: int) -> NDArray[np.int64]:
    low, high = raw.group.size
    if high <= 1:
        return np.arange(max(count, 1), dtype=np.int64)
    rng = numpy_rng(seed, raw.name, "groups")
    sizes = rng.integers(max(low, 1), high + 1, size=count // max(low, 1) + 1)
    starts = np.concatenate(([0], np.cumsum(sizes)))
    return np.asarray(starts[starts < max(count, 1)], dtype=np.int64)


class Customers:
    """All classes of a population; class sizes by largest remainder, none empty."""

    def __init__(self, plan: Plan) -> None:
        total = max(
            len(plan.population.classes), round(plan.scenario.population.accounts * plan.scale)
        )
        counts = _shared_out(total, [one.share for one in plan.population.classes])
        self.blocks: list[ClassBlock] = []
        first = 0
        for raw, count in zip(plan.population.classes, counts, strict=True):
            self.blocks.append(ClassBlock(raw, plan, first, count))
            first += count
        self.count = first
        self._firsts = [block.first for block in self.blocks]

    def block_of(self, index: int) -> ClassBlock:
        return self.blocks[bisect_right(self._firsts, index) - 1]


def _shared_out(total: int, shares: list[float]) -> list[int]:
    whole = sum(shares)
    exact = [total * share / whole for share in shares]
    counts = [max(1, int(part)) for part in exact]
    order = sorted(range(len(shares)), key=lambda at: (exact[at] % 1, -at), reverse=True)
    for at in order[: max(0, total - sum(counts))]:
        counts[at] += 1
    return counts
