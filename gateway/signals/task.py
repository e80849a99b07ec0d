"""What a request is for, as scores of a small classifier; see docs/classifiers.md.

Unknown (None) where the body is not seen, holds no text, or no model is loaded. Scores are worked
out only where a policy names one of these signals.
"""

from __future__ import annotations

from ..model import TASKS, RequestFacts, Subject
from ..registry import signal


def _score(facts: RequestFacts, task: str) -> float | None:
    return None if facts.task is None else facts.task.scores[TASKS.index(task)]


@signal("task_reasoning_elicitation", type=float, needs="task", is_free=True, low=0, high=1)
def task_reasoning_elicitation(facts: RequestFacts, subject: Subject) -> float | None:
    """How much it looks like asking for the reasoning behind answers, 0..1; None when unseen."""
    return _score(facts, "reasoning_elicitation")


@signal("task_grading", type=float, needs="task", is_free=True, low=0, high=1)
def task_grading(facts: RequestFacts, subject: Subject) -> float | None:
    """How much it looks like grading by a rubric or collecting preferences, 0..1; None when
    unseen."""
    return _score(facts, "grading")


@signal("task_cleaning", type=float, needs="task", is_free=True, low=0, high=1)
def task_cleaning(facts: RequestFacts, subject: Subject) -> float | None:
    """How much it looks like cleaning or rewriting data, 0..1; None when unseen."""
    return _score(facts, "cleaning")


@signal("task_synthesis", type=float, needs="task", is_free=True, low=0, high=1)
def task_synthesis(facts: RequestFacts, subject: Subject) -> float | None:
    """How much it looks like making training data out of seeds, 0..1; None when unseen."""
    return _score(facts, "synthesis")


@signal("task_tool_harvesting", type=float, needs="task", is_free=True, low=0, high=1)
def task_tool_harvesting(facts: RequestFacts, subject: Subject) -> float | None:
    """How much it looks like collecting calls of tools that nobody runs, 0..1; None when unseen."""
    return _score(facts, "tool_harvesting")


@signal("task_probing", type=float, needs="task", is_free=True, low=0, high=1)
def task_probing(facts: RequestFacts, subject: Subject) -> float | None:
    """How much it looks like probing the model itself, 0..1; None when unseen."""
    return _score(facts, "probing")


@signal("task_benchmark", type=float, needs="task", is_free=True, low=0, high=1)
def task_benchmark(facts: RequestFacts, subject: Subject) -> float | None:
    """How much it looks like problems with one right result, 0..1; None when unseen."""
    return _score(facts, "benchmark")


@signal("task_interactive", type=float, needs="task", is_free=True, low=0, high=1)
def task_interactive(facts: RequestFacts, subject: Subject) -> float | None:
    """How much it looks like a conversation or an agent at work, 0..1; None when unseen."""
    return _score(facts, "interactive")


@signal("task_batch", type=float, needs="task", is_free=True, low=0, high=1)
def task_batch(facts: RequestFacts, subject: Subject) -> float | None:
    """How much it looks like ordinary work in bulk, 0..1; None when unseen."""
    return _score(facts, "batch")


@signal("task", type=str, needs="task")
def task(facts: RequestFacts, subject: Subject) -> str | None:
    """The task with the highest score; None when no score reaches 0.5, or when unseen."""
    if facts.task is None:
        return None
    best = max(facts.task.scores)
    return TASKS[facts.task.scores.index(best)] if best >= LEAST_SCORE else None


LEAST_SCORE = 0.5
