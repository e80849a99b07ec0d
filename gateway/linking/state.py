"""All that a linker knows; `linker`, `people` and `snapshot` work on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .clusters import Clusters
from .graph import Graph
from .relay import Relay
from .turn_rings import TurnRings


@dataclass(slots=True)
class State:
    """`examined`: seed → holders when it was last looked at. `grown` seeds and `fresh` accounts
    (in order of arrival) wait for the next tick; seeds of clusters that grew a little are `waiting`
    since then. `published` is what each account's subject was last told, `said` the same of each
    cluster. `decisions` are people's."""

    graph: Graph = field(default_factory=Graph)
    clusters: Clusters = field(default_factory=Clusters)
    relay: Relay = field(default_factory=Relay)
    turns: TurnRings = field(default_factory=TurnRings)
    examined: dict[int, int] = field(default_factory=dict)
    grown: dict[int, None] = field(default_factory=dict)
    waiting: dict[int, int] = field(default_factory=dict)
    fresh: dict[int, None] = field(default_factory=dict)
    published: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    said: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    is_frozen: bool = False
    next_sweep_us: int = 0
