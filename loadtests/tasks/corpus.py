"""Requests by what they are for, out of the project's own templates and `worlds`' kinds of work.

An *operator* is one hand: an application with a prompt, parameters and a client of its own, and a
few accounts. The parameters that an entry names are set by half of its operators only, so that a
model learns what is asked and not how one template happened to be sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from ...policy.source import Report, parse_yaml
from ..worlds.apps import App, own_prompt, parameters, tool_set
from ..worlds.clients import Client
from ..worlds.conversations import Conversation
from ..worlds.dialects import PATHS
from ..worlds.models import draw_model
from ..worlds.phrases import inside_json, phrases
from ..worlds.tasks import Kind, Writer, items_of, kinds, pattern_of

DIALECTS = ("chat", "chat", "messages", "responses")
REQUESTS_EACH = 8  # of one account
ITEM_FILES = (  # questions under permissive licences; see the data's own manifest
    "workloads/C_gsm8k_questions.jsonl.gz",
    "workloads/C_humaneval_mbpp_prompts.jsonl.gz",
    "prompts/B_openassistant_prompts.jsonl.gz",
)
# What the kinds of work of `worlds` are for. Orchestrating is what both sides do in the same words.
KIND_TASKS: Mapping[str, tuple[str, str]] = {
    "chat": ("interactive", "chat"),
    "support": ("interactive", "support"),
    "summarise": ("batch", "summaries"),
    "translate": ("batch", "translation"),
    "accessibility": ("batch", "accessibility"),
    "rewrite": ("cleaning", "campaign"),
    "extract": ("batch", "documents"),
    "coding": ("interactive", "coding"),
    "agent": ("interactive", "agents"),
    "orchestrate": ("interactive", "agents"),
    "grade": ("grading", "campaign"),
    "clean": ("cleaning", "campaign"),
    "elicit": ("reasoning_elicitation", "campaign"),
    "synthesize": ("synthesis", "campaign"),
    "benchmark": ("benchmark", "evaluation"),
    "explain": ("batch", "regulated"),
}


@dataclass(frozen=True, slots=True)
class Example:
    """One request with what it is for. `source` is where its template comes from, `operator` who
    sends it; neither stands on both sides of a split."""

    account: str
    path: str
    body: bytes
    tasks: tuple[str, ...]
    operator: str
    source: str
    who: str
    language: str
    corpus: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One template source in one language."""

    name: str
    tasks: tuple[str, ...]
    who: str
    language: str
    kind: Kind
    params: Mapping[str, object]
    turns: float


@cache
def entries() -> tuple[Entry, ...]:
    """All of `corpus.yaml`. Raises ValueError where it is broken: it is part of the package."""
    path = Path(__file__).resolve().with_name("corpus.yaml")
    report = Report()
    source = parse_yaml(path.read_bytes(), path.name, report)
    if source is None or report.has_errors:
        raise ValueError("; ".join(map(str, report.problems)))
    return tuple([one for raw in source.data["entries"] for one in _entries_of(raw)])


def _entries_of(raw: dict[str, Any]) -> Iterator[Entry]:
    for language, (system, *questions) in raw["by"].items():
        opens = {language: tuple(map(pattern_of, questions))}
        kind = Kind(
            name=raw["name"],
            answer=raw.get("answer", "prose"),
            systems=(inside_json(system),),
            opens=opens,
            follows=opens,
            data=(),
            tools=raw.get("tools"),
        )
        yield Entry(
            raw["name"],
            tuple(raw["tasks"]),
            raw["class"],
            language,
            kind,
            raw.get("params", {}),
            float(raw["turns"]),
        )


def own_examples(rng: Random, data_dir: Path | None, *, operators: int) -> Iterator[Example]:
    """Of `corpus.yaml`: `operators` of each template source and language."""
    items = items_of(ITEM_FILES, data_dir)
    for entry in entries():
        for number in range(operators):
            name = f"{entry.name}-{entry.language}-{number}"
            writer = Writer(entry.kind, entry.language, items if entry.language == "en" else ())
            tasks = (entry.tasks, entry.who, entry.language, entry.name, "own")
            yield from _of_operator(rng, name, writer, entry, tasks)


def world_examples(rng: Random, data_dir: Path | None, *, operators: int) -> Iterator[Example]:
    """Of the kinds of work that `worlds` knows, in their own words."""
    for kind_name, (task, who) in KIND_TASKS.items():
        kind = kinds()[kind_name]
        for language in kind.opens:
            for number in range(operators):
                name = f"world-{kind_name}-{language}-{number}"
                writer = Writer(kind, language, items_of(kind.data, data_dir))
                turns = 4.0 if task == "interactive" else 1.0
                entry = Entry(kind_name, (task,), who, language, kind, {}, turns)
                labels = ((task,), who, language, f"world:{kind_name}", "worlds")
                yield from _of_operator(rng, name, writer, entry, labels)


Labels = tuple[tuple[str, ...], str, str, str, str]


def _of_operator(
    rng: Random, name: str, writer: Writer, entry: Entry, labels: Labels
) -> Iterator[Example]:
    tasks, who, language, source, corpus = labels
    dialect = rng.choice(DIALECTS)
    client = Client("laboratory", (), (), "", rng.random() < 0.5, rng.random() < 0.4)
    apps = [_app(rng, dialect, writer, entry) for _ in range(3 if entry.kind.tools else 1)]
    for account in range(rng.randint(1, 2)):
        for body in _requests(rng, apps, client):
            yield Example(
                f"{name}-{account}",
                PATHS[dialect],
                body,
                tasks,
                name,
                source,
                who,
                language,
                corpus,
            )


def _requests(rng: Random, apps: list[App], client: Client) -> Iterator[bytes]:
    """What one account sends: conversations one after another."""
    sent = 0
    while sent < REQUESTS_EACH:
        app = rng.choice(apps)
        conversation = Conversation(app, client, rng, owner=0, model=app.model, user=_user(rng))
        while not conversation.is_over and sent < REQUESTS_EACH:
            body = conversation.ask(rng, 0)
            conversation.answer(rng, len(body), text_bytes=rng.choice((80, 400, 1500)))
            sent += 1
            yield body


def _user(rng: Random) -> bytes | None:
    return b"u%d" % rng.randrange(10**6) if rng.random() < 0.15 else None


def _app(rng: Random, dialect: str, writer: Writer, entry: Entry) -> App:
    """As one developer would set the entry up: in the system prompt or before the question, with
    the entry's parameters or with others."""
    grammar = phrases(entry.language)
    system = own_prompt(rng, entry.kind, grammar) if entry.kind.systems[0] else b""
    kind = entry.kind
    author = writer
    if system and rng.random() < 0.25:
        author, system = _before_question(writer, system), b""
    elif not system and rng.random() < 0.3:
        system = rng.choice((b"You are a helpful assistant.", grammar.sentences(rng, 2)))
    streams = rng.random() < 0.2 + 0.4 * (entry.turns > 1)
    thinking = rng.random() < 0.1
    params = parameters(rng, dialect, kind, streams=streams, thinking=thinking)
    tools: tuple[str, ...] = ()
    if kind.tools:
        tools = tool_set(
            rng, None if kind.tools == "own" else kind.tools, is_own=kind.tools == "own"
        )
    if entry.params and rng.random() < 0.5:
        params = _merged(dict(params), entry.params, dialect, has_tools=bool(tools))
    return App(
        dialect=dialect,
        kind=kind,
        author=author,
        system=system,
        tools=tools,
        params=params,
        history_at=rng.choice((0, 1, 2, 9)),
        turns=entry.turns,
        streams=streams,
        thinking=thinking,
        is_chained=False,
        carries_history=True,
        model=draw_model(rng, dialect),
        names_safety_id=False,
    )


def _before_question(writer: Writer, system: bytes) -> Writer:
    kind = writer.kind
    language = writer.grammar.language
    opens = {language: tuple([(system + b"\\n\\n", *one) for one in kind.opens.get(language, ())])}
    if not opens[language]:
        return writer
    other = Writer(replace(kind, opens=opens, follows=opens), language, ())
    other._items = writer._items
    return other


def _merged(
    params: dict[str, object], wanted: Mapping[str, object], dialect: str, *, has_tools: bool
) -> tuple[tuple[str, object], ...]:
    """The entry's parameters as the dialect names them; what it does not have is left out."""
    for name, value in wanted.items():
        if name == "max_tokens" and dialect == "responses":
            params["max_output_tokens"] = value
        elif name == "tool_choice":
            if has_tools:
                params[name] = {"type": "any"} if dialect == "messages" else value
        elif name in ("n", "logprobs") and dialect != "chat":
            continue
        else:
            params[name] = value
    return tuple(params.items())
