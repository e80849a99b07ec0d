"""CPU of one request's scores: cold (texts and features never seen), and with a template that was.

    python -m hydragate.loadtests.tasks.cost

CPU time of this process, the collector off as the gateway has it between rounds: the median of
the rounds, which a busy machine makes worse, and the best of them. Each round also reads its bodies
with the standard library's `json.loads`: what scores cost in that hardly depends on the machine.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from random import Random
from statistics import median
from time import process_time
from typing import Any, TypeVar

from ...adapters.body import BodyFacts, read_body
from ...classifiers.load import load_task_model
from ...classifiers.model import LinearModel
from ...classifiers.request import TaskClassifier, TaskFeatures
from ..worlds.phrases import phrases

One = TypeVar("One")
ROUNDS = 15
REQUESTS = 60
SIZES = {"2 KB": (600, 1_150), "20 KB": (2_000, 17_500), "200 KB": (4_000, 195_000)}
LANGUAGES = ("en", "de", "zh")


STATES = ("cold", "known template", "seen before", "json.loads")


def measured(model: LinearModel, seed: int) -> dict[str, Any]:
    """Microseconds by size, language and state; how many times `json.loads` the cold ones are."""
    found: dict[str, Any] = {}
    gc.disable()
    try:
        for size, (system_bytes, question_bytes) in SIZES.items():
            for language in LANGUAGES:
                rounds = [
                    _round(model, Random(f"{seed}/{n}"), language, system_bytes, question_bytes)
                    for n in range(ROUNDS)
                ]
                found[f"{size} {language}"] = _told(rounds)
    finally:
        gc.enable()
    return found


def _told(rounds: list[tuple[float, ...]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: {"median": round(median(times), 1), "best": round(min(times), 1)}
        for name, times in zip(STATES, zip(*rounds, strict=True), strict=True)
    }
    found["cold over json.loads"] = round(median([one[0] / one[-1] for one in rounds]), 1)
    return found


def _round(
    model: LinearModel, rng: Random, language: str, system_bytes: int, question_bytes: int
) -> tuple[float, ...]:
    """Cold, with the system prompt known, all of it known, and the reference."""
    fixed = _text(rng, language, system_bytes)
    raws = [
        _raw(_text(rng, language, system_bytes), _text(rng, language, question_bytes))
        for _ in range(REQUESTS)
    ]
    cold = [read_body(raw, "chat") for raw in raws]
    known = [_body(fixed, _text(rng, language, question_bytes)) for _ in range(REQUESTS)]
    features, classifier = TaskFeatures(), TaskClassifier(model)

    def score(body: BodyFacts) -> None:
        levels = features.levels(body, "caller")
        assert levels is not None
        classifier.read(levels)

    score(_body(fixed, _text(rng, language, 200)))
    reference = _each_us(json.loads, raws)
    first = _each_us(score, cold)
    return first, _each_us(score, known), _each_us(score, known), reference


def _each_us(work: Callable[[One], object], bodies: list[One]) -> float:
    started = process_time()
    for body in bodies:
        work(body)
    return (process_time() - started) / len(bodies) * 1e6


def _text(rng: Random, language: str, size: int) -> str:
    grammar = phrases(language)
    count = size // grammar.sentence_bytes + 2
    return grammar.sentences(rng, count)[:size].decode("utf-8", "ignore").rstrip("\\")


def _body(system: str, question: str) -> BodyFacts:
    return read_body(_raw(system, question), "chat")


def _raw(system: str, question: str) -> bytes:
    turns = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    body = {"model": "m", "temperature": 0.2, "max_tokens": 500, "messages": turns}
    return json.dumps(body, ensure_ascii=False).encode()


def main() -> None:
    print(f"{'us a request':<14}" + "".join(f"{name:>18}" for name in STATES) + f"{'ratio':>8}")
    for name, found in measured(load_task_model(), 1).items():
        times = [found[state] for state in STATES]
        cells = "".join(f"{one['median']} ({one['best']})".rjust(18) for one in times)
        print(f"{name:<14}{cells}{found['cold over json.loads']:>8}")


if __name__ == "__main__":
    main()
