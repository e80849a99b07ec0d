"""The accounts of one operator: when each joins, is banned and is replaced, and what it shows.

Everything here is settled before the first exchange, so that events and labels need no run.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from .clients import Client, stripped
from .days import DAY_S
from .faces import client_for, user_id
from .facts import (
    account_id,
    key_ids,
    mail_domain,
    organization_id,
    payment_fingerprint,
    verification,
)
from .load import CampaignPlan, Plan
from .networks import AddressPool
from .roster import Customers
from .seeds import Weighted, python_rng

RELAY_TLS = "relay"
POOL_CLIENTS = 3
ORGANIZED = 0.1


@dataclass(frozen=True, slots=True)
class Tenure:
    """Seconds in which an account works for its pool; `is_banned`: it ends by the platform."""

    account: int
    joins_s: float
    leaves_s: float
    is_banned: bool


@dataclass(slots=True)
class PoolFace:
    """What requests through one account of the pool show."""

    account_id: str
    keys: list[str]
    clients: dict[str, Client]
    address: str
    exit_kind: str
    exit_country: str
    user: bytes


class AccountPool:
    """Accounts `first` to `first + count`: pool `number` of a campaign.

    `base` of them are the file's at this scale; the rest are bought on the way, where the pool
    is always new.
    """

    def __init__(
        self,
        campaign: CampaignPlan,
        plan: Plan,
        addresses: AddressPool,
        *,
        number: int,
        first: int,
        count: int,
        replacements: int = 0,
    ) -> None:
        self.campaign = campaign
        self.number = number
        self.first = first
        self.count = count + replacements
        self.base = count
        self.begins_s = plan.start_s + campaign.begins_day * DAY_S
        self.ends_s = self.begins_s + campaign.raw.days * DAY_S
        self._plan = plan
        self._addresses = addresses
        self._exits = Weighted(
            {"residential": 1.0} if campaign.knobs.own_exits else campaign.raw.exits.kind
        )
        facts = campaign.raw.facts
        self._mail, self._tiers = Weighted(facts.mail), Weighted(facts.tiers)
        self._levels, self._paths = Weighted(facts.verification), Weighted(facts.paths)
        self._families = Weighted(campaign.raw.clients.families)
        self._faces: dict[int, PoolFace] = {}
        self.tenures = self._settle_tenures()

    @property
    def path(self) -> tuple[str, int]:
        return self.campaign.id, self.number

    def rng(self, *path: str | int) -> Random:
        return python_rng(self._plan.seed, *self.path, *path)

    @property
    def data_dir(self) -> Path | None:
        return self._plan.data_dir

    def framed_accounts(self, customers: Customers) -> range:
        """All customers who have the template that this pool copies."""
        victim = self.framed_account(customers)
        block = customers.block_of(victim)
        template = block.raw.apps.template
        if template == "class":
            return range(block.first, block.first + block.count)
        if template == "group" or block.shares("app"):
            _, first, size = block.group_of(victim)
            return range(first, first + size)
        return range(victim, victim + 1)

    def framed_account(self, customers: Customers) -> int:
        """The customer whose template this pool copies: one of the class that its knob names."""
        blocks = {block.raw.name: block for block in customers.blocks}
        block = blocks[str(self.campaign.knobs.frames)]
        rng = python_rng(self._plan.seed, self.campaign.id, "victim")
        return block.first + rng.randrange(block.count)

    @property
    def active(self) -> int:
        """Accounts in use at a time, when all have joined."""
        return max(1, round(self.base * (1 - self.campaign.raw.relay.standby)))

    @property
    def account_days(self) -> float:
        """Days that accounts in use come to over the whole campaign, with nobody banned."""
        raw = self.campaign.raw
        grows = min(raw.grows_days, raw.days)
        return self.active * (raw.days - (1 - raw.at_start) * grows / 2)

    @property
    def per_account_day(self) -> float:
        """Exchanges of an account in use, a day."""
        raw = self.campaign.raw
        whole = raw.exchanges * self.base / raw.accounts
        # Strangers come on top: the campaign's own rate stays.
        whole *= 1 + self.campaign.knobs.mixing
        return whole / self.account_days

    def _settle_tenures(self) -> list[Tenure]:
        """Growth, bans and replacements, by time of joining. Standby accounts join when an
        active one goes; those that are never needed have no tenure."""
        raw, rng, active = self.campaign.raw, self.rng("tenure"), self.active
        joins = [(self._first_join(rng, n, active), n) for n in range(active)]
        heapq.heapify(joins)
        standby, found = active, []
        while joins:
            joins_s, at = heapq.heappop(joins)
            if joins_s >= self.ends_s:
                continue
            leaves_s, is_banned = self._leaving(rng, joins_s)
            found.append(Tenure(self.first + at, joins_s, min(leaves_s, self.ends_s), is_banned))
            if leaves_s < self.ends_s and standby < self.count:
                wait_s = rng.random() * raw.relay.replaced_within_h * 3600
                heapq.heappush(joins, (leaves_s + wait_s, standby))
                standby += 1
        return found

    def _first_join(self, rng: Random, number: int, active: int) -> float:
        raw = self.campaign.raw
        if number < active * raw.at_start:
            return self.begins_s
        grows_s = min(raw.grows_days, raw.days) * DAY_S
        # Accounts are made in batches, so they join in batches.
        batch = self.rng("batch", number // max(1, raw.facts.per_burst)).random()
        return self.begins_s + batch * grows_s + rng.random() * 3600.0

    def _leaving(self, rng: Random, joins_s: float) -> tuple[float, bool]:
        """When the account goes, and whether the platform banned it."""
        bans, drops = self.campaign.raw.relay.bans_per_day, self.campaign.knobs.replaced_daily
        if bans + drops == 0:
            return float("inf"), False
        leaves_s = joins_s + rng.expovariate(bans + drops) * DAY_S
        return leaves_s, rng.random() < bans / (bans + drops)

    # ── what the platform knows ──────────────────────────────────────────────────────────────

    def created_s(self, account: int, joins_s: float | None) -> float:
        """Signed up in a burst with others, some days before its first use or long before."""
        raw, knobs = self.campaign.raw, self.campaign.knobs
        at = account - self.first
        burst = self.rng("burst", at // raw.facts.per_burst)
        used_s = self.begins_s if joins_s is None else joins_s
        if knobs.aged_days:
            before_s = knobs.aged_days * DAY_S * (0.6 + 0.8 * self.rng("aged", at).random())
        else:
            before_s = (0.3 + 4 * burst.random()) * DAY_S
        return float(int(used_s - before_s + self.rng("minute", at).random() * 5400.0))

    def record(self, account: int, joins_s: float | None) -> dict[str, Any]:
        """Accounts v1, with what the pool shares."""
        facts, own = self.campaign.raw.facts, self.rng("facts", account - self.first)
        at = account - self.first
        level = self._levels.draw(own)
        pays = level in ("payment", "identity", "organization")
        country = self.country(account)
        domain_rng = self.rng("domain", at // facts.per_domain)
        mail_kind = self._mail.draw(domain_rng)
        signup_rng = self.rng("signup", at // facts.per_signup_address)
        payer_rng = self.rng("payer", at // facts.per_payer)
        return {
            "account_id": account_id(self._plan.seed, account),
            "created_at": int(self.created_s(account, joins_s)),
            "org_id": organization_id(own) if own.random() < ORGANIZED else None,
            "tier": self._tiers.draw(own),
            "billing_country": country if pays else None,
            "email_domain": mail_domain(domain_rng, mail_kind),
            "phone_country": country if own.random() < 0.5 else None,
            "payment_fingerprint": payment_fingerprint(payer_rng) if pays else None,
            "signup_ip": self._addresses.draw(signup_rng, "residential", country),
            "signup_path": self._paths.draw(own),
            "verification": verification(own, level),
            "key_ids": self.keys(account),
            "sub_users": False,
            "contracts": [],
        }

    def keys(self, account: int) -> list[str]:
        return key_ids(python_rng(self._plan.seed, "keys", account), 1)

    def country(self, account: int) -> str:
        named = self.campaign.raw.facts.countries
        choices = named or self._addresses.countries("residential")
        return self.rng("country", account - self.first).choice(choices)

    # ── what its requests show ───────────────────────────────────────────────────────────────

    def face(self, account: int, dialect: str) -> PoolFace:
        found = self._faces.get(account)
        if found is None:
            found = self._faces[account] = self._face(account)
        if dialect not in found.clients:
            found.clients[dialect] = self._client(account, dialect)
        return found

    def _face(self, account: int) -> PoolFace:
        raw, knobs, at = self.campaign.raw, self.campaign.knobs, account - self.first
        is_shared = raw.exits.use == "shared" and not knobs.own_exits
        exit_rng = self.rng("exit", at // raw.exits.per_exit if is_shared else at)
        kind = self._exits.draw(exit_rng)
        places = self._addresses.countries(kind)
        country = exit_rng.choice(places)
        if not is_shared and exit_rng.random() >= raw.facts.conflicts:
            # Exits are bought where the account says that it lives, as far as there are any.
            country = self.country(account) if self.country(account) in places else country
        return PoolFace(
            account_id=account_id(self._plan.seed, account),
            keys=self.keys(account),
            clients={},
            address=self._addresses.draw(exit_rng, kind, country),
            exit_kind=kind,
            exit_country=country,
            user=user_id(self.rng("user", at), 0),
        )

    def _client(self, account: int, dialect: str) -> Client:
        """An imitated client: one of the relay's few, or one for each account."""
        imitation, knobs, at = self.campaign.raw.clients, self.campaign.knobs, account - self.first
        is_own = imitation.per_account or knobs.own_tls
        rng = self.rng("client", dialect, at if is_own else at % POOL_CLIENTS)
        tls = None if knobs.own_tls or imitation.tls == "imitated" else RELAY_TLS
        client = client_for(rng, self._families.draw(rng), dialect, tls=tls)
        return stripped(client) if knobs.strips else client


def pools_of(
    campaign: CampaignPlan, plan: Plan, addresses: AddressPool, first: int
) -> list[AccountPool]:
    """The campaign's pools at this scale: accounts shrink, the rate of each does not."""
    total = max(2, round(campaign.raw.accounts * campaign.scale * plan.scale))
    split = min(campaign.knobs.split, total)
    days = max(0.0, min(campaign.raw.days, plan.days - campaign.begins_day))
    pools: list[AccountPool] = []
    for number in range(split):
        count = total // split + (number < total % split)
        pool = AccountPool(
            campaign,
            plan,
            addresses,
            number=number,
            first=first,
            count=count,
            replacements=round(count * campaign.knobs.replaced_daily * days),
        )
        pools.append(pool)
        first += pool.count
    return pools
