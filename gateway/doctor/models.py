"""The model that scores requests by task, and whether anything asks for its scores."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..classifiers.load import load_task_model
from ..classifiers.model import ModelError
from ..classifiers.reader import TASK
from ..errors import PolicyError
from ..policy.load import load_policy
from ..settings import Settings
from .finding import Finding, bad, ok, warning

TOPIC = "classifier"


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    chosen = settings.classifier
    try:
        model = load_task_model(chosen.model)
    except ModelError as error:
        yield bad(TOPIC, str(error), "repair it, train it again, or leave classifier.model out")
        return
    if chosen.model is None:
        return
    said = f"{chosen.model}: model {model.version}"
    if chosen.always or _is_asked_for(settings):
        yield ok(TOPIC, said)
    else:
        yield warning(
            TOPIC,
            f"{said}; the policy names no score, so that nothing is scored",
            "name a task_* signal in a rule, or set classifier.always",
        )


def _is_asked_for(settings: Settings) -> bool:
    """Whether the policy names a score; a bad policy is another topic's."""
    try:
        return TASK in load_policy(settings.policy).needs
    except PolicyError:
        return False
