"""Which model an application asks for: names that vendors have published, by dialect and price."""

from __future__ import annotations

from random import Random

from .schema import RawRelease
from .seeds import Weighted

_OPENAI = {
    "gpt-5-mini": 0.28,
    "gpt-5": 0.2,
    "gpt-4o-mini": 0.16,
    "gpt-4.1-mini": 0.12,
    "gpt-4.1": 0.1,
    "gpt-5.1": 0.08,
    "o3": 0.06,
}
CATALOGUE = {
    "chat": Weighted(_OPENAI),
    "responses": Weighted(_OPENAI),
    "messages": Weighted(
        {"claude-sonnet-4-5": 0.5, "claude-haiku-4-5": 0.3, "claude-opus-4-5": 0.2}
    ),
    "embeddings": Weighted({"text-embedding-3-small": 0.7, "text-embedding-3-large": 0.3}),
}


def draw_model(rng: Random, dialect: str) -> str:
    return CATALOGUE[dialect].draw(rng)


def speaks(model: str, dialect: str) -> bool:
    """Whether a model is served in a dialect: Anthropic's by messages, the others by the rest."""
    return model.startswith("claude") == (dialect == "messages")


def after_release(
    model: str, dialect: str, release: RawRelease, days_since: float, rng: Random
) -> str:
    """What a customer asks for now: some are curious, most on the first two days."""
    if days_since < 0 or not speaks(release.model, dialect):
        return model
    chance = release.curious * (1.0 if days_since < 2 else 0.6)
    return release.model if rng.random() < chance else model
