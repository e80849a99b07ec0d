"""From files to a checked scenario. A bad file raises PolicyError, each problem with its line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from ...errors import PolicyError, Problem, UsageError
from ...policy.hints import did_you_mean
from ...policy.schema import validated
from ...policy.source import Place, Report, SourceFile, parse_yaml
from .check import check_campaign, check_population, check_scenario
from .schema import (
    RawCampaign,
    RawEntry,
    RawKnobs,
    RawPopulation,
    RawReacts,
    RawScenario,
    RawScript,
)

LIBRARY = Path(__file__).resolve().parents[1]
MAX_FILE_BYTES = 2_000_000
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """A campaign as this scenario runs it, with its knobs settled. `id` is its label."""

    id: str
    raw: RawCampaign
    knobs: RawKnobs
    scale: float
    begins_day: float
    reacts: RawReacts


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a world is made from."""

    scenario: RawScenario
    population: RawPopulation
    campaigns: tuple[CampaignPlan, ...]
    start_s: float
    days: float
    seed: int
    scale: float
    data_dir: Path | None
    warnings: tuple[Problem, ...] = ()


def load_plan(
    path: Path, *, scale: float = 1.0, days: float | None = None, seed: int | None = None
) -> Plan:
    """The plan in a scenario file; `scale` multiplies the file's own, `days` and `seed` replace it.

    Raises PolicyError when a file cannot be used, UsageError when the scenario cannot be opened.
    """
    report = Report()
    if not path.is_file() and path.suffix == "":
        named = LIBRARY / "scenarios" / f"{path}.yaml"
        path = named if named.is_file() else path
    if not path.is_file():
        known = [str(p.relative_to(LIBRARY / "scenarios").with_suffix("")) for p in scenarios()]
        raise UsageError(f"{path}: no such scenario{did_you_mean(str(path), known)}")
    source, raw = _read(path, RawScenario, report)
    if source is None or raw is None:
        raise PolicyError(report.problems)
    start_s = check_start(raw.start, Place(source) / "start", report)
    population = _population(raw, Place(source), path.parent, report)
    campaigns = _campaigns(raw, Place(source), path.parent, report)
    check_scenario(raw, Place(source), report)
    if population is not None:
        _check_frames(campaigns, population, Place(source), report)
    if report.has_errors or population is None:
        raise PolicyError(report.problems)
    return Plan(
        scenario=raw,
        population=population,
        campaigns=tuple(campaigns),
        start_s=start_s,
        days=raw.days if days is None else days,
        seed=raw.seed if seed is None else seed,
        scale=raw.scale * scale,
        data_dir=_data_dir(raw.data_dir, path.parent),
        warnings=tuple(report.problems),
    )


def load_script(path: Path = LIBRARY / "friction.yaml") -> RawScript:
    """What people and operators do when they are asked, and what it costs them.

    Raises PolicyError when the file cannot be used.
    """
    report = Report()
    _, script = _read(path, RawScript, report)
    if script is None or report.has_errors:
        raise PolicyError(report.problems)
    return script


def scenarios() -> list[Path]:
    """The scenarios that come with the package."""
    return sorted((LIBRARY / "scenarios").rglob("*.yaml"))


def _read(
    path: Path, model: type[_Model], report: Report
) -> tuple[SourceFile | None, _Model | None]:
    text = path.read_bytes()[:MAX_FILE_BYTES]
    source = parse_yaml(text, path.name, report)
    if source is None:
        return None, None
    return source, validated(model, source.data, Place(source), report)


def check_start(text: str, place: Place, report: Report) -> float:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        report.error(place, f"is no moment of the calendar: {text}")
        return 0.0


def _find(name: str, folder: str, beside: Path, place: Place, report: Report) -> Path | None:
    """A file of the library by name, or one beside the scenario by its path."""
    for path in (LIBRARY / folder / f"{name}.yaml", beside / name):
        if path.is_file():
            return path
    known = [p.stem for p in (LIBRARY / folder).glob("*.yaml")]
    report.error(place, f"no such file {name}{did_you_mean(name, known)}")
    return None


def _population(
    raw: RawScenario, place: Place, beside: Path, report: Report
) -> RawPopulation | None:
    where = place / "population" / "file"
    path = _find(raw.population.file, "populations", beside, where, report)
    if path is None:
        return None
    source, population = _read(path, RawPopulation, report)
    if source is not None and population is not None:
        check_population(population, Place(source), report)
    return population


def _campaigns(raw: RawScenario, place: Place, beside: Path, report: Report) -> list[CampaignPlan]:
    plans: list[CampaignPlan] = []
    for index, entry in enumerate(raw.campaigns):
        where = place / "campaigns" / index / "file"
        path = _find(entry.file, "campaigns", beside, where, report)
        if path is None:
            continue
        source, campaign = _read(path, RawCampaign, report)
        if source is None or campaign is None:
            continue
        check_campaign(campaign, Place(source), report)
        plans.append(_plan_of(entry, campaign, {plan.id for plan in plans}))
    return plans


def _plan_of(entry: RawEntry, campaign: RawCampaign, taken: set[str]) -> CampaignPlan:
    """The scenario's knobs over the file's; two runs of one file get ids of their own."""
    knobs = campaign.knobs
    if entry.knobs is not None:
        said = entry.knobs.model_dump(include=entry.knobs.model_fields_set)
        knobs = knobs.model_copy(update=said)
    name, number = campaign.name, 2
    while name in taken:
        name, number = f"{campaign.name}-{number}", number + 1
    return CampaignPlan(name, campaign, knobs, entry.scale, entry.begins_day, entry.reacts)


def _check_frames(
    campaigns: list[CampaignPlan], population: RawPopulation, place: Place, report: Report
) -> None:
    known = [c.name for c in population.classes]
    for index, plan in enumerate(campaigns):
        framed = plan.knobs.frames
        if framed is not None and framed not in known:
            where = place / "campaigns" / index / "knobs" / "frames"
            report.error(
                where, f"no class {framed} in this population{did_you_mean(framed, known)}"
            )


def _data_dir(named: str | None, beside: Path) -> Path | None:
    """`data_dir` of the scenario, from its own folder; else a `shared/data` beside the checkout.
    `none` keeps to the project's own content."""
    if named == "none":
        return None
    path = beside / named if named else LIBRARY.parents[1] / "shared" / "data"
    return path if path.is_dir() else None
