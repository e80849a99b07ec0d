"""What the stand-in answers: text, tool calls and token counts that follow from the request.

Deterministic for a seed and a body, but for ids and signatures: those are fresh and unguessable,
as the real APIs' are, or two callers with one prompt would share artefacts. Sizes are believable:
output tokens are log-normal (median about 180, heavy tail) and capped by the caller's maximum;
input tokens follow the body's size.
"""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

BYTES_PER_TOKEN = 4.2
OUTPUT_MU, OUTPUT_SIGMA = 5.2, 0.9
FIRST_TOKEN_S_MU, FIRST_TOKEN_S_SIGMA = -1.0, 0.5
SECONDS_PER_TOKEN = 0.012
MAX_OUTPUT_TOKENS = 8_192
_WORDS = (  # noqa: SIM905 - prose
    "the model answers with a plain sentence about what was asked and then goes on to explain "
    "each step in order because a reader should be able to follow it without looking back while "
    "numbers names and short examples keep every claim easy to check against the question"
).split()
ID_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_TO_ALPHABET = bytes(ord(ID_ALPHABET[byte % len(ID_ALPHABET)]) for byte in range(256))


@dataclass(frozen=True, slots=True)
class Controls:
    """What a test asks for in the `x-standin` header: `latency=0.5,status=529,tokens=20`."""

    values: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, header: bytes) -> Controls:
        pairs = (part.partition("=") for part in header.decode("latin-1").split(",") if part)
        return cls({name.strip(): value.strip() for name, _, value in pairs})

    def number(self, name: str) -> float | None:
        """None if it was not asked for. Raises ValueError unless it is a number."""
        return float(self.values[name]) if name in self.values else None

    def has(self, name: str) -> bool:
        return name in self.values


@dataclass(slots=True)
class Answer:
    """One generated answer, before it is dressed in a dialect."""

    model: str
    words: list[str]
    tool: dict[str, Any] | None
    input_tokens: int
    output_tokens: int
    first_token_s: float
    seconds_per_token: float
    is_cut: bool
    rng: random.Random

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def new_id(self, prefix: str) -> str:
        """An id that nobody can guess, as the real APIs hand them out."""
        return prefix + secrets.token_bytes(24).translate(_TO_ALPHABET).decode()


def answer_to(body: dict[str, Any], raw: bytes, *, seed: int, controls: Controls) -> Answer:
    """The answer to a request body of either dialect."""
    rng = random.Random(crc32(raw) ^ seed)
    asked = controls.number("tokens")
    most = min(_maximum(body), MAX_OUTPUT_TOKENS)
    drawn = max(1, int(rng.lognormvariate(OUTPUT_MU, OUTPUT_SIGMA)))
    wanted = int(asked) if asked is not None else drawn
    tokens = min(most, wanted)
    tool = _tool_of(body) if rng.random() < 0.7 or body.get("tool_choice") else None
    return Answer(
        model=str(body.get("model", "stand-in")),
        words=[_WORDS[(i * 7 + tokens) % len(_WORDS)] for i in range(tokens)],
        tool=tool,
        input_tokens=int(len(raw) / BYTES_PER_TOKEN) + 1,
        output_tokens=tokens,
        first_token_s=min(5.0, rng.lognormvariate(FIRST_TOKEN_S_MU, FIRST_TOKEN_S_SIGMA)),
        seconds_per_token=SECONDS_PER_TOKEN,
        is_cut=wanted > most,
        rng=rng,
    )


def _maximum(body: dict[str, Any]) -> int:
    for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        value = body.get(name)
        if isinstance(value, int) and value > 0:
            return value
    return MAX_OUTPUT_TOKENS


def _tool_of(body: dict[str, Any]) -> dict[str, Any] | None:
    """The first tool offered, with arguments that fit its schema; a tool result in the last
    message is answered in text."""
    tools = body.get("tools")
    if not isinstance(tools, list) or not tools or not isinstance(tools[0], dict):
        return None
    messages = body.get("messages") or body.get("input") or []
    if isinstance(messages, list) and messages and _is_tool_result(messages[-1]):
        return None
    tool = tools[0].get("function", tools[0])
    if not isinstance(tool, dict):
        return None
    schema = tool.get("parameters") or tool.get("input_schema") or {}
    properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
    arguments = {name: _value(spec) for name, spec in (properties or {}).items()}
    return {"name": str(tool.get("name", "tool")), "arguments": arguments}


def _is_tool_result(message: object) -> bool:
    if not isinstance(message, dict):
        return False
    if message.get("role") == "tool" or message.get("type") == "function_call_output":
        return True
    content = message.get("content")
    return isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") == "tool_result" for part in content
    )


def _value(spec: object) -> object:
    kind = spec.get("type") if isinstance(spec, dict) else None
    if isinstance(spec, dict) and spec.get("enum"):
        return spec["enum"][0]
    samples: dict[object, object] = {"number": 1.5, "integer": 1, "boolean": True, "array": []}
    return samples.get(kind, {} if kind == "object" else "Berlin")
