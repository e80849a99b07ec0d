"""What a replay is fed with, from the options that name it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from ..errors import HydragateError, PolicyError, UsageError
from ..workers.feeds import Feed, FileFeed, StreamFeed, lines_of, open_log
from ..workers.world_feed import World, WorldFeed

Lines = tuple[str, Callable[[], Iterable[bytes]]]
"""A name for messages, and whoever opens the lines."""


@dataclass(frozen=True, slots=True)
class Inputs:
    feed: Feed
    accounts: Lines
    events: Lines | None
    identity: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """The options as they were given: a log with its accounts, or a scenario."""

    traffic: Path | None
    accounts: Path | None
    events: Path | None
    scenario: Path | None
    scale: float = 1.0
    days: float | None = None
    seed: int | None = None

    @contextmanager
    def open(self, *, labels_dir: Path | None = None) -> Iterator[Inputs]:
        """Raises UsageError for options that do not go together."""
        if self.scenario is None:
            yield self._files()
            return
        if self.accounts is not None or self.events is not None:
            raise UsageError("--accounts and --events belong to --traffic: a scenario has its own")
        make_world = partial(
            load_scenario, self.scenario, scale=self.scale, days=self.days, seed=self.seed
        )
        identity = {
            "scenario": FileFeed(self.scenario).identity(),
            "scale": self.scale,
            "days": self.days,
            "seed": self.seed,
        }
        name = str(self.scenario)
        with WorldFeed(make_world, name=name, identity=identity, labels_dir=labels_dir) as feed:
            yield Inputs(
                feed, (f"{name} (accounts)", feed.accounts), (f"{name} (events)", feed.events), {}
            )

    def _files(self) -> Inputs:
        if self.traffic is None or self.accounts is None:
            raise UsageError("--traffic needs --accounts")
        feed: Feed = StreamFeed() if str(self.traffic) == "-" else FileFeed(self.traffic)
        identity: dict[str, Any] = {"accounts": FileFeed(self.accounts).identity()}
        if self.events is not None:
            identity["events"] = FileFeed(self.events).identity()
        return Inputs(
            feed,
            _lines(self.accounts),
            None if self.events is None else _lines(self.events),
            identity,
        )


def load_scenario(scenario: Path, *, scale: float, days: float | None, seed: int | None) -> World:
    """Imported when it is asked for: whoever replays a log needs none of what makes traffic.

    Raises HydragateError with what is wrong with the scenario.
    """
    try:
        worlds = import_module("..loadtests.worlds.world", __package__)
    except ImportError as error:
        raise UsageError(f"scenarios need a package that is not installed: {error}") from None
    try:
        return cast(World, worlds.load_world(scenario, scale=scale, days=days, seed=seed))
    except PolicyError as error:
        raise HydragateError(str(error)) from None


def _lines(path: Path) -> Lines:
    def lines() -> Iterator[bytes]:
        with open_log(path) as file:
            yield from lines_of(file)

    return str(path), lines
