"""The tasks that requests are scored for: what a request is *for*, never who is behind it."""

from __future__ import annotations

from ..model import TASKS

TASK_WORDS = {
    "reasoning_elicitation": "wants the reasoning behind answers written out",
    "grading": "has answers graded by a rubric, or compared for preference data",
    "cleaning": "has records or corpora cleaned, filtered or rewritten",
    "synthesis": "has new training tasks or texts made out of seeds",
    "tool_harvesting": "collects calls of tools that nothing carries out",
    "probing": "asks the model about itself, its limits and its instructions",
    "benchmark": "runs problems with one right result",
    "interactive": "is an ordinary conversation or an agent at work",
    "batch": "is ordinary work in bulk: translating, extracting, summarising",
}
assert tuple(TASK_WORDS) == TASKS
ORDINARY = frozenset({"interactive", "batch"})
