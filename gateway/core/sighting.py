"""One exchange as the window of its account counts it.

What callers choose comes in as a few bits of a hash: enough to count different values, useless to
know one. Names are remembered, as the same few come again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from zlib import crc32

from ..model import Decision, RequestFacts, Sighting, Usage, Verdict
from .window import (
    IS_FAILED,
    IS_HOSTING,
    IS_REFUSED,
    IS_STREAMED,
    NARROW_BITS,
    NO_BIT,
    SKETCH_BITS,
    U32,
)

MASK, NARROW_MASK = SKETCH_BITS - 1, NARROW_BITS - 1
LEAST_SCORE = 0.5
MAX_KINDS = 16_384  # half a kilobyte each
HEAD, TAIL = Struct("<4I3B"), Struct("<5B2H")  # together `window.SIGHTING`
_ALLOW = Verdict.ALLOW


def sighting_of(
    account_id: str,
    facts: RequestFacts,
    decision: Decision,
    usage: Usage | None,
    upstream_status: int | None,
    *,
    is_asked: bool = True,
) -> Sighting:
    """A refused exchange counts as nothing but refused; one without usage has no tokens."""
    flags, input_tokens, output_tokens = 0, 0, 0
    if decision.verdict is not _ALLOW:
        flags = IS_REFUSED
    elif upstream_status is None or upstream_status >= 400:
        flags = IS_FAILED
    if usage is not None:
        input_tokens, output_tokens = usage.input_tokens or 0, usage.output_tokens or 0
    task = facts.task
    kind_flags, parameters, tail = _kind(
        facts.network_class,
        facts.stream,
        facts.temperature,
        facts.max_output_tokens,
        facts.end_user,
        facts.user_agent,
        facts.model,
        facts.country,
        NO_BIT if task is None else task_of(task.scores),
        NO_BIT if task is None or not task.workspace else task.workspace & NARROW_MASK,
    )
    second = facts.received_us // 1_000_000
    if input_tokens > U32 or output_tokens > U32:
        input_tokens, output_tokens = min(input_tokens, U32), min(output_tokens, U32)
    head = HEAD.pack(
        second,
        facts.items,
        input_tokens,
        output_tokens,
        kind_flags | flags,
        parameters,
        bit_of(facts.client_network),
    )
    return Sighting(account_id, head + tail, is_asked)


@lru_cache(maxsize=MAX_KINDS)
def _kind(
    network_class: str | None,
    stream: bool | None,
    temperature: float | None,
    max_output_tokens: int | None,
    end_user: str | None,
    agent: str | None,
    model: str | None,
    country: str | None,
    task: int,
    workspace_bit: int,
) -> tuple[int, int, bytes]:
    """(flags, the parameters' bit, all that comes behind the network's bit): the same for most
    requests. Networks are left out: they are many, and remembering so many kinds costs more, out
    of cold memory, than working out a bit."""
    flags = IS_HOSTING if network_class == "hosting" else 0
    if stream:
        flags |= IS_STREAMED
    model_bit, model_number = (NO_BIT, 0) if model is None else model_of(model)
    tail = TAIL.pack(
        bit_of(end_user),
        NO_BIT if agent is None else bit_of(agent) & NARROW_MASK,
        workspace_bit,
        model_bit,
        task,
        model_number,
        0 if country is None else country_number(country),
    )
    return flags, parameters_bit(temperature, max_output_tokens, stream), tail


def task_of(scores: Sequence[float]) -> int:
    """The position of the task with the highest score; NO_BIT where none reaches one half."""
    best = max(scores)
    return scores.index(best) if best >= LEAST_SCORE else NO_BIT


def parameters_bit(temperature: float | None, most: int | None, stream: bool | None) -> int:
    """Numbers hash to the same everywhere, which None and text do not."""
    return NARROW_MASK & hash(
        (
            -1.0 if temperature is None else temperature,
            -1 if most is None else most,
            -1 if stream is None else stream,
        )
    )


def bit_of(text: str | None) -> int:
    if text is None:
        return NO_BIT
    try:
        return crc32(text.encode()) & MASK
    except UnicodeEncodeError:  # half a surrogate pair: as good a text as any
        return crc32(text.encode("utf-8", "surrogatepass")) & MASK


def model_of(name: str) -> tuple[int, int]:
    """(bit, number): a number above 0 tells models of one account apart, and names none."""
    hashed = crc32(name.encode("utf-8", "surrogatepass"))
    return hashed & MASK, (hashed >> 16) or 1


def country_number(country: str) -> int:
    """Two capitals as one number; 0 for what is not two ASCII characters."""
    if len(country) != 2 or not country.isascii():
        return 0
    return ord(country[0]) << 8 | ord(country[1])


@lru_cache(maxsize=1024)
def country_of(number: int) -> str | None:
    return chr(number >> 8) + chr(number & 255) if number else None
