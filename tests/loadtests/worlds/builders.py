"""Scenarios for tests: small worlds written to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from gateway.loadtests.worlds.world import World, load_world

TASKS = {"agent": 1, "elicit": 2, "grade": 1, "chat": 1}


def write_scenario(
    folder: Path,
    *,
    classes: list[dict[str, Any]] | None = None,
    campaign: dict[str, Any] | None = None,
    knobs: dict[str, Any] | None = None,
    scale: float = 1.0,
    accounts: int = 120,
    **more: Any,
) -> Path:
    """A scenario with its own population and campaign beside it; JSON is YAML too."""
    why = "for a test of the generator"
    population = {"version": 1, "name": "tested", "why": why, "classes": classes or [ordinary()]}
    (folder / "people.yaml").write_bytes(orjson.dumps(population))
    entries = []
    if campaign is not None:
        (folder / "campaign.yaml").write_bytes(orjson.dumps(campaign))
        entry: dict[str, Any] = {"file": "campaign.yaml", "scale": scale}
        entries.append(entry if knobs is None else {**entry, "knobs": knobs})
    scenario = {
        "version": 1,
        "name": "tested",
        "why": why,
        "start": "2026-04-20T00:00:00Z",
        "days": 1.0,
        "data_dir": "none",
        "population": {"file": "people.yaml", "accounts": accounts},
        "campaigns": entries,
        **more,
    }
    path = folder / "scenario.yaml"
    path.write_bytes(orjson.dumps(scenario))
    return path


def ordinary(**changes: Any) -> dict[str, Any]:
    """One class of customers, all of the population unless `share` says otherwise."""
    base = {
        "name": "ordinary",
        "why": "customers for a test",
        "share": 1.0,
        "rate": {"per_day": 20},
        "apps": {"tasks": TASKS},
    }
    return {**base, **changes}


def campaign(**changes: Any) -> dict[str, Any]:
    """A pool of 60 accounts, 40 exchanges a day each, that starts at full size."""
    base = {
        "version": 1,
        "name": "pool",
        "why": "a campaign for a test",
        "source": "made up for a test",
        "allegation": "none: made up for a test",
        "assumed": "all of it, for a test",
        "accounts": 60,
        "exchanges": 4800,
        "days": 2,
        "at_start": 1.0,
        "models": {"claude-opus-4-5": 1.0},
        "dialects": {"messages": 1.0},
        "tasks": [{"kind": "agent", "turns": 4}, {"kind": "elicit"}],
        "relay": {"standby": 0.1, "bans_per_day": 0.0},
    }
    return {**base, **changes}


def made(folder: Path, **arguments: Any) -> World:
    return load_world(write_scenario(folder, **arguments))


def body_of(request: Any) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(bytes(request.body))
    return found


def answer_of(request: Any) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(bytes(request.response.body))
    return found
