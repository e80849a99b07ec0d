"""An application in front of the model: its prompt, tools and parameters, and the order in which it
writes them. Everything that does not change from request to request is rendered once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from .dialects import PATHS, dumped, shape_of, tool_members
from .phrases import Phrases, ascii_json, read_content
from .tasks import Kind

_TOOLS = read_content("tasks.yaml")["tools"]
_ARGUMENTS: list[str] = read_content("tasks.yaml")["arguments"]
MAX_FRAMES = 16


class Author(Protocol):
    """Who writes for an application: the texts of its users, in one language."""

    grammar: Phrases
    pads: bool
    """Whether its prompts may be filled up to a length with a text to work on."""

    def opening(self, rng: Random) -> bytes: ...

    def following(self, rng: Random) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Frame:
    """A request but for its turns: everything before them, everything after but `}`."""

    before: bytes
    after: bytes


@dataclass(slots=True)
class App:
    """`params` are rendered members in the order the application writes them, `history_at` the
    place of the turns among them. Texts are escaped. `turns`: mean of a conversation.
    `names_safety_id`: end users go into `safety_identifier` instead of `user`."""

    dialect: str
    kind: Kind
    author: Author
    system: bytes
    tools: tuple[str, ...]
    params: tuple[tuple[str, object], ...]
    history_at: int
    turns: float
    streams: bool
    thinking: bool
    is_chained: bool
    carries_history: bool
    model: str
    names_safety_id: bool
    _frames: dict[tuple[str, bool, bool, bytes], Frame] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return PATHS[self.dialect]

    def frame(
        self, model: str, *, is_spaced: bool, is_ascii: bool, system: bytes | None = None
    ) -> Frame:
        """The frame for `model`; `system` stands in for the application's own prompt."""
        prompt = self.system if system is None else system
        key = (model, is_spaced, is_ascii, prompt)
        found = self._frames.get(key)
        if found is None:
            if len(self._frames) >= MAX_FRAMES:
                self._frames.clear()
            found = self._frames[key] = self._render(model, is_spaced, is_ascii, prompt)
        return found

    def _render(self, model: str, is_spaced: bool, is_ascii: bool, system: bytes) -> Frame:
        shape = shape_of(self.dialect, is_spaced)
        prompt = ascii_json(system) if is_ascii else system
        members = [
            self._member("model", model, is_spaced),
            *(self._member(name, value, is_spaced) for name, value in self.params),
        ]
        if prompt and shape.system is not None:
            members.insert(1 + self.history_at % 2, shape.system % prompt)
        if self.tools:
            tools = tool_members(self.tools, _ARGUMENTS, self.dialect)
            members.append(self._member("tools", tools, is_spaced))
        at = min(self.history_at, len(members))
        before = b"{" + b"".join(member + shape.comma for member in members[:at]) + shape.history
        if prompt and shape.system is None and self.dialect == "chat":
            before += shape.system_message % prompt + shape.comma
        after = b"]" + b"".join(shape.comma + member for member in members[at:])
        return Frame(before, after)

    def _member(self, name: str, value: object, is_spaced: bool) -> bytes:
        colon = b'": ' if is_spaced else b'":'
        return b'"' + name.encode() + colon + dumped(value, is_spaced=is_spaced)


def tool_set(rng: Random, name: str | None = None, *, is_own: bool = False) -> tuple[str, ...]:
    """A public tool set; `is_own` adds one of the application's own naming."""
    chosen = name or rng.choice(sorted(_TOOLS))
    tools = [str(tool) for tool in _TOOLS[chosen]]
    if is_own:
        verb, thing = rng.choice(("load", "store", "match", "score")), rng.randrange(10_000)
        tools.append(f"{verb}_{rng.choice(_ARGUMENTS)}_{thing}")
    return tuple(tools)


def own_prompt(rng: Random, kind: Kind, grammar: Phrases) -> bytes:
    """A prompt as one application has it: what its kind begins with, and rules of the house."""
    system = rng.choice(kind.systems)
    if system and rng.random() < 0.85:
        system += b" " + grammar.sentences(rng, rng.randint(1, 6))
    return b"" if rng.random() < 0.08 else system


def parameters(
    rng: Random,
    dialect: str,
    kind: Kind,
    *,
    streams: bool,
    thinking: bool,
    temperature: float | None = None,
    max_tokens: int | None = None,
) -> tuple[tuple[str, object], ...]:
    """Parameters as an application would set them once and then keep, in its own order."""
    if dialect == "embeddings":
        return (("encoding_format", "float"),) if rng.random() < 0.5 else ()
    found: dict[str, object] = {}
    most = max_tokens or rng.choice((512, 1000, 1024, 2000, 2048, 4096, 8000, 8192))
    if dialect == "messages":
        found["max_tokens"] = most
    elif max_tokens is not None or rng.random() < 0.5:
        found["max_output_tokens" if dialect == "responses" else "max_tokens"] = most
    if thinking:
        found |= _thinking(dialect)
    elif temperature is not None or rng.random() < 0.55:
        chosen = rng.choice((0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 1.0))
        found["temperature"] = chosen if temperature is None else temperature
    if rng.random() < 0.12:
        found["top_p"] = rng.choice((0.9, 0.95, 1.0))
    if kind.answer == "json" and dialect == "chat":
        found["response_format"] = {"type": "json_object"}
    if streams:
        found["stream"] = True
        if dialect == "chat" and rng.random() < 0.6:
            found["stream_options"] = {"include_usage": True}
    order = list(found.items())
    rng.shuffle(order)
    return tuple(order)


def _thinking(dialect: str) -> Mapping[str, object]:
    if dialect == "messages":
        return {"thinking": {"type": "enabled", "budget_tokens": 2048}}
    if dialect == "responses":
        return {"reasoning": {"effort": "medium"}, "include": ["reasoning.encrypted_content"]}
    return {"reasoning_effort": "medium"}
