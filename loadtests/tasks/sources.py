"""Real prompts and workloads as labelled requests, where a folder of data is given.

Nobody labelled these as abuse: the labels say what a text asks for, by the file that it stands in
(prompts are ordinary, workloads are seeds and evaluators alike). None of the text is kept here.
`EVALUATED_ONLY` is judged and never trained on: licences of what it was made from
are not clear.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from ..worlds.phrases import phrases, plain
from .corpus import Example

MAX_ROWS = 400
LEAST_TEMPLATE_CHARS = 120
_HELPFUL = "You are a helpful assistant."
_HOLE = re.compile(r"\{[^{}\n]{1,60}\}|<[A-Z_ ]{3,40}>")


@dataclass(frozen=True, slots=True)
class Source:
    """`asks_each`: how many prompts one account sends. `params` are those of its usual harness."""

    file: str
    tasks: tuple[str, ...]
    who: str
    asks_each: int
    params: Mapping[str, object]


_NOTHING: Mapping[str, object] = {}
_EXACT: Mapping[str, object] = {"temperature": 0, "max_tokens": 1024}
SOURCES = (
    Source("prompts/B_awesome_prompts_zh", ("interactive",), "chat", 4, _NOTHING),
    Source("prompts/B_banking77_customer_queries", ("interactive",), "support", 6, _NOTHING),
    Source("prompts/B_clinc150_queries", ("interactive",), "support", 6, _NOTHING),
    Source("prompts/B_ifeval_prompts", ("interactive",), "chat", 6, _NOTHING),
    Source("prompts/B_koala_test_prompts", ("interactive",), "chat", 5, _NOTHING),
    Source("prompts/B_mtbench_vicuna_questions", ("interactive",), "chat", 5, _NOTHING),
    Source("prompts/B_openassistant_prompts", ("interactive",), "chat", 5, _NOTHING),
    Source("prompts/B_polyglot_exercise_prompts", ("interactive",), "coding", 5, _NOTHING),
    Source("workloads/C_bfcl_v4_function_calling", ("tool_harvesting",), "evaluation", 20, _EXACT),
    Source("workloads/C_codealpaca_2k", ("interactive",), "seed prompts", 20, _NOTHING),
    Source("workloads/C_gsm8k_questions", ("benchmark",), "evaluation", 20, _EXACT),
    Source("workloads/C_humaneval_mbpp_prompts", ("benchmark",), "evaluation", 20, _EXACT),
    Source("workloads/C_prometheus_judge_filled", ("grading",), "evaluation", 20, _EXACT),
    Source("workloads/C_self_instruct_seed_tasks", ("interactive",), "seed prompts", 10, _NOTHING),
    Source("workloads/C_sweagent_trajectories", ("interactive",), "agents", 4, _NOTHING),
    Source("workloads/C_t0_promptsource_templated_sample", ("batch",), "nlp tasks", 20, _EXACT),
)
TEMPLATES = "workloads/C_templates"
TEMPLATE_TASKS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "cot-distill": (("reasoning_elicitation",), "campaign"),
    "judge": (("grading",), "campaign"),
    "synthetic-data": (("synthesis",), "campaign"),
    "synthetic-textbook": (("synthesis",), "campaign"),
    "synthetic-qa": (("synthesis",), "campaign"),
    "evol-instruct": (("synthesis",), "campaign"),
    "agent-system": (("interactive",), "agents"),
    "icl-urial": (("interactive",), "chat"),
}
EVALUATED_ONLY = frozenset({"C_t0_promptsource_templated_sample", "C_codealpaca_2k"})


def real_examples(rng: Random, data_dir: Path) -> Iterator[Example]:
    """All of them, by accounts that each ask one source."""
    for source in SOURCES:
        name = source.file.partition("/")[2]
        rows = list(_rows(data_dir / f"{source.file}.jsonl.gz"))
        rng.shuffle(rows)
        for number, row in enumerate(rows[:MAX_ROWS]):
            account = f"{name}-{number // source.asks_each}"
            body = _body(rng, account, row, source.params)
            language = str(row.get("lang", "en"))[:2] if "zh" in name else "en"
            yield Example(
                *(account, "/v1/chat/completions", body, source.tasks, account),
                *(name, source.who, language, "real"),
            )
    yield from _template_examples(rng, data_dir)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _body(rng: Random, account: str, row: dict[str, Any], params: Mapping[str, object]) -> bytes:
    request: dict[str, Any] = {"model": "gpt-4.1", **params, "messages": _messages(row)}
    if row.get("function"):
        request["tools"] = [_tool(one) for one in row["function"]]
    style = Random(account)  # one caller writes all its requests alike
    if style.random() < 0.3 and not params:
        request["stream"] = True
    if style.random() < 0.3 and request["messages"][0]["role"] != "system":
        request["messages"].insert(0, {"role": "system", "content": _HELPFUL})
    return json.dumps(request, ensure_ascii=style.random() < 0.5).encode()


def _messages(row: dict[str, Any]) -> list[dict[str, Any]]:
    if "messages" in row:
        return [
            {"role": one["role"], "content": one["content"]}
            for one in row["messages"][:12]
            if one.get("content")
        ]
    if "question" in row:
        return [dict(one) for one in row["question"][0]]
    text = row["turns"][0] if "turns" in row else row["prompt"]
    extra = row.get("input") or ""
    return [{"role": "user", "content": f"{text}\n{extra}" if extra else text}]


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": function}


def _template_examples(rng: Random, data_dir: Path) -> Iterator[Example]:
    """Templates of public pipelines, their holes filled with sentences of ours."""
    for row in _rows(data_dir / f"{TEMPLATES}.jsonl.gz"):
        text = row["template"]
        if row["kind"] not in TEMPLATE_TASKS or len(text) < LEAST_TEMPLATE_CHARS:
            continue
        tasks, who = TEMPLATE_TASKS[row["kind"]]
        name = "templates:" + row["repo"].partition("/")[2]
        account = f"{name}-{row['path']}-{row['name']}"
        as_system = rng.random() < 0.3 or row["kind"] == "agent-system"
        for _ in range(4):
            filled = _HOLE.sub(lambda _: _sentences(rng), text)
            turns = [{"role": "user", "content": filled}]
            if as_system:
                turns = [
                    {"role": "system", "content": filled},
                    {"role": "user", "content": _sentences(rng)},
                ]
            request = {"model": "gpt-4.1", "messages": turns}
            body = json.dumps(request, ensure_ascii=False).encode()
            yield Example(
                *(account, "/v1/chat/completions", body, tasks, account),
                *(name, who, "en", "real"),
            )


def _sentences(rng: Random) -> str:
    return plain(phrases("en").sentences(rng, rng.randint(1, 5)))
