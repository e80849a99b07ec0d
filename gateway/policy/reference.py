"""The generated parts of the reference pages. A test fails when a page is stale; to renew:
`python -m hydragate.commands.reference`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..model import Level, Route, SignalSpec
from .hints import LEVEL_NAMES
from .names import RESERVED
from .operators import BESIDE, OPERATORS
from .routes import BUILT_IN, OPTIONAL
from .vocabulary import FIXED

TYPE_NAMES: Mapping[type, str] = {
    bool: "flag",
    int: "whole number",
    float: "number",
    str: "text",
    Level: "level",
    tuple: "texts",
}
TOPICS: Mapping[str, str] = {
    "account": "The account",
    "request": "The request",
    "client": "The client",
    "network": "The network",
    "cluster": "The cluster",
}
_SIGNALS_HEAD = """\
# Signals

Every fact about a request that a policy may name, in `when` and in `by`. A signal that *may be
unknown* never matches on an unknown value unless the policy says `on_unknown: match`; what refuses
must say what it does then. A *free* one has as many values as the caller cares to make up: a limit
by it splits a budget, and is none unless another limit bounds the same by account. Generated from
`gateway/signals/`.
"""
_SIGNAL_HEAD = ("Signal", "Type", "May be unknown", "Free", "")
_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def render_signals(signals: Mapping[str, SignalSpec]) -> str:
    """`docs/reference/signals.md`, by topic."""
    topics: dict[str, list[SignalSpec]] = {}
    for spec in signals.values():
        topic = spec.read.__module__.rpartition(".")[2]
        topics.setdefault(topic, []).append(spec)
    parts = [_SIGNALS_HEAD]
    known = [topic for topic in TOPICS if topic in topics]
    for topic in known + sorted(topics.keys() - TOPICS.keys()):
        title = TOPICS.get(topic, topic.replace("_", " ").capitalize())
        rows = [_signal_row(spec) for spec in topics[topic]]
        parts.append(f"## {title}\n\n{table(_SIGNAL_HEAD, rows)}")
    return "\n".join(parts)


def _signal_row(spec: SignalSpec) -> tuple[str, ...]:
    unknown = "yes" if spec.nullable else "no"
    free = "yes" if spec.is_free else "no"
    return (f"`{spec.name}`", TYPE_NAMES[spec.value_type], unknown, free, spec.doc)


def render_comparisons() -> str:
    """Which comparisons each type has."""
    rows = [
        (name, ", ".join(f"`{operator}`" for operator in [*OPERATORS[kind], *BESIDE]))
        for kind, name in TYPE_NAMES.items()
    ]
    return table(("Type", "Comparisons"), rows)


def render_levels() -> str:
    return " < ".join(f"`{name}`" for name in LEVEL_NAMES) + "\n"


def render_routes() -> str:
    """The built-in routes, and those that may be added."""
    rows = [_route_row(route, "yes") for route in BUILT_IN]
    rows += [_route_row(route, "when added") for route in OPTIONAL]
    return table(("Route", "", "Body", "Listed"), rows)


def _route_row(route: Route, listed: str) -> tuple[str, ...]:
    way = f"`{' '.join(sorted(route.methods))} /{'/'.join(route.pattern)}`"
    return (f"`{route.name}`", way, route.shape or "not read", listed)


def render_choices() -> str:
    """Signals that have only a few values."""
    rows = [
        (f"`{signal}`", ", ".join(f"`{value}`" for value in sorted(values)))
        for signal, values in FIXED.items()
    ]
    return table(("Signal", "Values"), rows)


def render_reserved() -> str:
    return ", ".join(f"`{name}`" for name in sorted(RESERVED)) + "\n"


def renew(page: str) -> str:
    """The page with every block between `<!-- generated: … -->` and `<!-- end -->` renewed.

    Raises KeyError for a block that nothing generates.
    """
    return _BLOCK.sub(lambda found: f"{found[1]}\n{_BLOCKS[found[2]]()}\n{found[3]}", page)


_BLOCKS = {
    "comparisons": render_comparisons,
    "levels": render_levels,
    "routes": render_routes,
    "choices": render_choices,
    "reserved": render_reserved,
}


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table, with a newline at its end."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
