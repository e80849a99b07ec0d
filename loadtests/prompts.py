"""Prompts for load: the project's own few, or real ones from a folder of evaluation data."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

OWN = (
    "Summarise the following meeting notes in three bullet points.",
    "Write a regular expression that matches ISO 8601 dates and explain each part.",
    "Translate this menu into Spanish and keep the prices as they are.",
    "Why does my SQL query return duplicate rows when I join these two tables?",
    "Draft a polite reply to a customer whose parcel arrived damaged.",
    "Suggest a week of vegetarian dinners for a family of four.",
    "Refactor this function so that it can be tested without a network.",
    "Explain the difference between a mutex and a semaphore to a beginner.",
    "Turn these figures into a short paragraph for a quarterly report.",
    "Which questions should I ask before signing a rental contract?",
    "Rewrite this paragraph in plain language for a reader of twelve.",
    "Find the bug: the loop never ends when the list is empty.",
    "Compare two project plans and name the riskier one, with reasons.",
    "Write unit tests for a parser of comma-separated values.",
    "Give me a packing list for ten days of hiking in October.",
    "Label each of these support tickets as billing, technical or other.",
)
DATA_ENV = "HYDRAGATE_DATA"
MAX_PROMPTS = 20_000


def data_dir() -> Path | None:
    """The folder of evaluation data, where there is one: `HYDRAGATE_DATA`, else a folder
    `shared/data` beside the checkout."""
    named = os.environ.get(DATA_ENV)
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    found = Path(named) if named else beside
    return found if found.is_dir() else None


def ordinary_prompts() -> list[str]:
    """Real user prompts where the data is there, else the project's own."""
    folder = data_dir()
    found = [] if folder is None else _read(folder / "prompts")
    return found or list(OWN)


def _read(folder: Path) -> list[str]:
    prompts: list[str] = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                prompt = json.loads(line).get("prompt")
                if isinstance(prompt, str) and prompt:
                    prompts.append(prompt[:8_000])
                if len(prompts) >= MAX_PROMPTS:
                    return prompts
    return prompts
