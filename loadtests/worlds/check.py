"""What the types of a scenario's files cannot say: names that must exist, shares that must sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...policy.hints import did_you_mean
from ...policy.source import Place, Report
from .clients import families
from .networks import KINDS
from .phrases import LANGUAGES, read_content
from .schema import RawCampaign, RawClass, RawPopulation, RawScenario
from .tasks import kinds

DIALECTS = ("chat", "responses", "messages", "embeddings")
SDKS = ("sdk-python", "sdk-python-async", "sdk-node")
MAILS = ("company", "free", "disposable", "education")
PATHS = ("standard", "education", "startup", "research")
LEVELS = ("none", "email", "phone", "payment", "identity", "organization")
SUM_SLACK = 0.005


def check_scenario(raw: RawScenario, place: Place, report: Report) -> None:
    if raw.release is not None and raw.release.day > raw.days:
        report.warn(place / "release" / "day", "comes after the scenario's last day")


def check_population(raw: RawPopulation, place: Place, report: Report) -> None:
    total = sum(one.share for one in raw.classes)
    if abs(total - 1) > SUM_SLACK:
        report.error(place / "classes", f"shares must sum to 1, not {total:.3f}")
    seen: set[str] = set()
    for index, one in enumerate(raw.classes):
        where = place / "classes" / index
        if one.name in seen or one.name == "campaign":
            report.error(where / "name", f"{one.name} is taken")
        seen.add(one.name)
        _check_class(one, where, report)


def _check_class(one: RawClass, place: Place, report: Report) -> None:
    _known(one.apps.tasks, kinds(), place / "apps" / "tasks", report)
    _known(one.languages, LANGUAGES, place / "languages", report)
    _known(one.dialects, DIALECTS, place / "dialects", report)
    _known(one.clients, (*SDKS, *families()), place / "clients", report)
    _known(one.networks, KINDS, place / "networks", report)
    facts = place / "facts"
    _known(one.facts.mail, MAILS, facts / "mail", report)
    _known(one.facts.paths, PATHS, facts / "paths", report)
    _known(one.facts.verification, LEVELS, facts / "verification", report)
    _ordered(one.keys, place / "keys", report)
    _ordered(one.apps.count, place / "apps" / "count", report)
    _ordered(one.users.count, place / "users" / "count", report)
    _ordered(one.group.size, place / "group" / "size", report)
    _ordered(one.facts.age_days, facts / "age_days", report)
    for at, job in enumerate(one.jobs):
        _ordered(job.calls, place / "jobs" / at / "calls", report)


def check_campaign(raw: RawCampaign, place: Place, report: Report) -> None:
    _known(raw.languages, LANGUAGES, place / "languages", report)
    _known(raw.dialects, DIALECTS, place / "dialects", report)
    _known(raw.exits.kind, KINDS, place / "exits" / "kind", report)
    _known(raw.clients.families, (*SDKS, *families()), place / "clients" / "families", report)
    _known(raw.facts.mail, MAILS, place / "facts" / "mail", report)
    _known(raw.facts.paths, PATHS, place / "facts" / "paths", report)
    _known(raw.facts.verification, LEVELS, place / "facts" / "verification", report)
    toolsets = read_content("tasks.yaml")["tools"]
    for index, task in enumerate(raw.tasks):
        where = place / "tasks" / index
        _known([task.kind], kinds(), where / "kind", report)
        if task.tools is not None:
            _known([task.tools], toolsets, where / "tools", report)
    _ordered(raw.relay.failover_s, place / "relay" / "failover_s", report)
    if raw.exchanges / raw.accounts / raw.days > 50_000:
        report.error(place / "exchanges", "over 50,000 a day for each account is no pool")


def _known(given: Iterable[str], known: Iterable[str], place: Place, report: Report) -> None:
    names = list(known)
    for name in given:
        if name not in names:
            at = place / name if isinstance(given, Mapping) else place
            report.error(at, f"there is no {name} here{did_you_mean(name, names)}")
    if isinstance(given, Mapping) and not any(given.values()):
        report.error(place, "needs at least one weight above 0")


def _ordered(bounds: list[int] | list[float], place: Place, report: Report) -> None:
    if bounds[0] > bounds[1]:
        report.error(place, f"must be [least, most], not {bounds}")
