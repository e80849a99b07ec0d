"""Exact tuples of request parameters: what a script sets once and sends for ever.

Innocent causes: an SDK's or a tutorial's defaults, which are hubs. It belongs to the content
block: who shares a template mostly shares its parameters.
"""

from __future__ import annotations

from msgspec import Raw

from .evidence import Block, Sight, family

NAMES = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "stop",
    "stop_sequences",
    "n",
    "logprobs",
    "top_logprobs",
)
LEAST = 3  # parameters that must be set; fewer are everybody's
MAX_VALUE_BYTES = 64


@family("parameters", Block.CONTENT)
def parameters(sight: Sight) -> tuple[str, ...]:
    """The exact values of at least three sampling parameters."""
    members = sight.members
    named = [name for name in NAMES if name in members]
    if len(named) < LEAST:
        return ()
    found = [f"{name}={_short(members[name])}" for name in named]
    return (f"{sight.facts.model}|" + "|".join(found),)


def _short(raw: bytes | memoryview | Raw) -> str:
    short = raw if len(raw) <= MAX_VALUE_BYTES else memoryview(raw)[:MAX_VALUE_BYTES]
    return str(short, "utf-8", "replace")
