"""What an upstream tells of its usage, in each vendor's words, and ours for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model import Usage, record

MAX_TOKENS = 2**53


@record
class Told:
    """Counts as the upstream told them; None: not told. `input_tokens` leaves out nothing that
    was read from a cache or written to one."""

    fresh_input_tokens: int | None = None
    cached_input_tokens: int | None = None
    written_input_tokens: int | None = None
    output_tokens: int | None = None

    def updated(self, later: Told) -> Told:
        """Counts are cumulative: a later one replaces an earlier one, where it is told."""
        return Told(
            _latest(self.fresh_input_tokens, later.fresh_input_tokens),
            _latest(self.cached_input_tokens, later.cached_input_tokens),
            _latest(self.written_input_tokens, later.written_input_tokens),
            _latest(self.output_tokens, later.output_tokens),
        )

    def usage(self) -> Usage:
        """Input is always the total, cached tokens included."""
        cached = self.cached_input_tokens or 0
        fresh = self.fresh_input_tokens
        if fresh is None:
            return Usage(None, 0, self.output_tokens)
        total = fresh + cached + (self.written_input_tokens or 0)
        return Usage(total, cached, self.output_tokens)


def told_by_openai(usage: Mapping[str, Any]) -> Told:
    """Chat, completions and embeddings say prompt and completion, Responses input and output;
    both count cached tokens as part of the input."""
    total = _count(usage, "prompt_tokens", "input_tokens")
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    cached = _count(details, "cached_tokens") if isinstance(details, dict) else None
    cached = min(cached or 0, total or 0)
    fresh = None if total is None else total - cached
    return Told(fresh, cached, None, _count(usage, "completion_tokens", "output_tokens"))


def told_by_anthropic(usage: Mapping[str, Any]) -> Told:
    """`input_tokens` leaves out what was read from the cache or written to it."""
    return Told(
        _count(usage, "input_tokens"),
        _count(usage, "cache_read_input_tokens"),
        _count(usage, "cache_creation_input_tokens"),
        _count(usage, "output_tokens"),
    )


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    """The first of the members that is a plausible count; anything else was not told."""
    for name in names:
        value = usage.get(name)
        if type(value) is int and 0 <= value <= MAX_TOKENS:
            return value
    return None


def _latest(earlier: int | None, later: int | None) -> int | None:
    return earlier if later is None else later
