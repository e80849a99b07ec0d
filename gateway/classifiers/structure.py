"""Features of a request's structure: roles, tools, output contract, parameters. No word is read."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Raw

from .body import Body, Parts
from .model import Feature

FEATURES = (
    Feature("single_turn", "asks once, without a conversation before it"),
    Feature("turns", "carries a long conversation"),
    Feature("has_system", "has a system prompt"),
    Feature("system_length", "has a long system prompt"),
    Feature("question_length", "has a long first question"),
    Feature("has_history", "carries earlier answers"),
    Feature("has_tool_results", "carries results of tools that were run"),
    Feature("ends_with_assistant", "begins the answer itself"),
    Feature("declares_tools", "declares tools"),
    Feature("tool_count", "declares many tools"),
    Feature("forces_tool", "forces a call of a tool"),
    Feature("tools_without_history", "declares tools and has run none"),
    Feature("demands_schema", "demands an answer by a schema"),
    Feature("demands_json", "demands JSON"),
    Feature("streams", "streams the answer"),
    Feature("temperature_zero", "sets the temperature to 0"),
    Feature("temperature_high", "sets a temperature of 0.9 or more"),
    Feature("many_answers", "asks for several answers at once"),
    Feature("asks_logprobs", "asks for probabilities of tokens"),
    Feature("sets_seed", "sets a seed"),
    Feature("sets_stop", "sets stop sequences"),
    Feature("very_short_answer", "allows an answer of a few words only"),
    Feature("long_answer", "allows a very long answer"),
    Feature("asks_thinking", "asks for hidden reasoning to be on"),
    Feature("names_end_user", "names a user of its own"),
    Feature("is_batch_call", "comes in a batch call"),
)
FULL = 9
_SHORT_BITS = 7
SHORT_LETTERS = (
    1 << _SHORT_BITS
)  # a question or two: shorter ones differ by language, not by what they ask
_CONTRACTS = ("response_format", "text", "output_config", "output_format")
_TELLING = frozenset(
    {
        *_CONTRACTS,
        *("logprobs", "top_logprobs", "seed", "stop", "stop_sequences"),
        *("reasoning_effort", "reasoning", "thinking"),
    }
)
FEW_TOKENS = 64
MANY_TOKENS = 8_000
_NO_CHOICE = frozenset({b'"auto"', b'"none"', b"null", b'{"type":"auto"}', b'{"type": "auto"}'})
_NO_REASONING = frozenset({b"null", b'{"type":"disabled"}', b'{"type": "disabled"}'})


def levels(body: Body, parts: Parts, system_letters: int, question_letters: int) -> bytes:
    """0..9 for each of `FEATURES`; the letters are those that were read of the texts' ends."""
    members = body.members
    tools = body.tool_count or 0
    has_run = parts.has_tool_results
    most = body.max_output_tokens
    temperature = body.temperature
    schema = json = logprobs = seed = stop = thinking = 0
    if not _TELLING.isdisjoint(members):
        contract = _contract(members)
        schema = FULL if b"schema" in contract else 0
        json = FULL if b"json" in contract else 0
        logprobs = FULL if "logprobs" in members or "top_logprobs" in members else 0
        seed = FULL if "seed" in members else 0
        stop = FULL if "stop" in members or "stop_sequences" in members else 0
        thinking = FULL if _asks_thinking(members) else 0
    return bytes(
        (
            0 if parts.has_assistant or has_run or parts.latest else FULL,
            length_level(parts.turn_count, 0),
            FULL if parts.system else 0,
            text_level(system_letters),
            text_level(question_letters),
            FULL if parts.has_assistant else 0,
            FULL if has_run else 0,
            FULL if parts.ends_with_assistant else 0,
            FULL if tools else 0,
            length_level(tools, 0) if tools else 0,
            FULL if tools and bytes(members.get("tool_choice", b"null")) not in _NO_CHOICE else 0,
            FULL if tools and not has_run and not parts.has_assistant else 0,
            schema,
            json,
            FULL if body.stream else 0,
            FULL if temperature is not None and temperature < 0.05 else 0,
            FULL if temperature is not None and temperature >= 0.9 else 0,
            length_level(body.choices - 1, 0) if body.choices > 1 else 0,
            logprobs,
            seed,
            stop,
            FULL if most is not None and most <= FEW_TOKENS else 0,
            FULL if most is not None and most >= MANY_TOKENS else 0,
            thinking,
            FULL if body.end_user is not None else 0,
            FULL if body.shape == "batch" else 0,
        )
    )


def length_level(count: int, free_bits: int) -> int:
    """Doublings beyond `2 ** free_bits`, at most 9."""
    level = count.bit_length() - free_bits
    return FULL if level > FULL else level if level > 0 else 0


def text_level(letters: int) -> int:
    """Half doublings beyond `SHORT_LETTERS`. What is read of a text is bounded, and so is this:
    nobody makes a text longer by wrapping it in others."""
    return _TEXT_LEVELS[letters] if letters < len(_TEXT_LEVELS) else FULL


def _half_doublings(letters: int) -> int:
    return min(FULL, max(0, (letters * letters).bit_length() - 2 * _SHORT_BITS))


def _contract(members: Mapping[str, Raw]) -> bytes:
    """How the output format that is demanded begins; empty where none is."""
    for name in _CONTRACTS:
        if name in members:
            return bytes(memoryview(members[name])[:128])
    return b""


def _asks_thinking(members: Mapping[str, Raw]) -> bool:
    if "reasoning_effort" in members or "reasoning" in members:
        return True
    return "thinking" in members and bytes(members["thinking"]) not in _NO_REASONING


_TEXT_LEVELS = bytes(map(_half_doublings, range(32 * SHORT_LETTERS)))
