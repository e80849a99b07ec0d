"""The only values that some signals ever have, so that a misspelt one is an error at once."""

from __future__ import annotations

from collections.abc import Mapping

from ..model import NETWORK_CLASSES, OWNERSHIPS, TASKS, Route, Status

FIXED: Mapping[str, frozenset[str]] = {
    "status": frozenset(status.value for status in Status),
    "surface": frozenset({"proxy", "middleware", "replay", "ext_authz", "auth_request"}),
    "dialect": frozenset({"openai", "anthropic", "problem"}),
    "method": frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}),
    "signup_path": frozenset({"standard", "education", "startup", "research"}),
    "network_class": frozenset(NETWORK_CLASSES),
    "ownership": frozenset(OWNERSHIPS),
    "cluster_state": frozenset({"watched", "suspected", "confirmed", "dismissed"}),
    "task": frozenset(TASKS),
}


def choices(routes: tuple[Route, ...], tiers: list[str] | None) -> Mapping[str, frozenset[str]]:
    """With the routes of this policy, and its tiers where it lists them."""
    known = {**FIXED, "route": frozenset(route.name for route in routes)}
    if tiers is not None:
        known["tier"] = frozenset(tiers)
    return known
