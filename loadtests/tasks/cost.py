"""CPU of one request's scores: cold (texts and features never seen), and with a template that was.

CPU time of this process, medians of rounds, the collector off as the gateway has it between rounds.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from random import Random
from statistics import median
from time import process_time
from typing import Any

from ...adapters.body import BodyFacts, read_body
from ...classifiers.model import LinearModel
from ...classifiers.request import TaskClassifier, TaskFeatures
from ..worlds.phrases import phrases

ROUNDS = 9
REQUESTS = 60
SIZES = {"2 KB": (600, 1_150), "20 KB": (2_000, 17_500), "200 KB": (4_000, 195_000)}
LANGUAGES = ("en", "de", "zh")


def measured(model: LinearModel, seed: int) -> dict[str, Any]:
    """Microseconds by size and language."""
    found: dict[str, Any] = {}
    gc.disable()
    try:
        for size, (system_bytes, question_bytes) in SIZES.items():
            for language in LANGUAGES:
                rounds = [
                    _round(model, Random(f"{seed}/{n}"), language, system_bytes, question_bytes)
                    for n in range(ROUNDS)
                ]
                names = ("cold", "known template", "seen before")
                found[f"{size} {language}"] = {
                    name: round(median(one[at] for one in rounds), 1)
                    for at, name in enumerate(names)
                }
    finally:
        gc.enable()
    return found


def _round(
    model: LinearModel, rng: Random, language: str, system_bytes: int, question_bytes: int
) -> tuple[float, float, float]:
    """Cold, with the system prompt known, and all of it known."""
    fixed = _text(rng, language, system_bytes)
    cold = [
        _body(_text(rng, language, system_bytes), _text(rng, language, question_bytes))
        for _ in range(REQUESTS)
    ]
    known = [_body(fixed, _text(rng, language, question_bytes)) for _ in range(REQUESTS)]
    features, classifier = TaskFeatures(), TaskClassifier(model)

    def score(body: BodyFacts) -> None:
        levels = features.levels(body, "caller")
        assert levels is not None
        classifier.read(levels)

    score(_body(fixed, _text(rng, language, 200)))
    first = _each_us(score, cold)
    return first, _each_us(score, known), _each_us(score, known)


def _each_us(score: Callable[[BodyFacts], None], bodies: list[BodyFacts]) -> float:
    started = process_time()
    for body in bodies:
        score(body)
    return (process_time() - started) / len(bodies) * 1e6


def _text(rng: Random, language: str, size: int) -> str:
    grammar = phrases(language)
    count = size // grammar.sentence_bytes + 2
    return grammar.sentences(rng, count)[:size].decode("utf-8", "ignore").rstrip("\\")


def _body(system: str, question: str) -> BodyFacts:
    turns = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    body = {"model": "m", "temperature": 0.2, "max_tokens": 500, "messages": turns}
    return read_body(json.dumps(body, ensure_ascii=False).encode(), "chat")
