"""What a data plane tells of an exchange when it is over, and what was used by it.

A Lua filter reads usage off the answer, and the access log brings it here whatever became of the
stream. nginx without its Lua module tells bytes only, so there the estimate of the tokens stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...model import Outcome, RequestFacts, Timings, Usage, record
from ..sse import StreamUsage
from ..tokens import told_by_anthropic, told_by_openai
from ..usage import STREAMS, unanswered
from .pending import Pending

MAX_STATUS = 999
_CLIENT_LEFT = frozenset({"DC", "DR", "DT"})
"""Envoy's response flags: the downstream connection closed, reset, timed out."""
_LEFT_UNANSWERED = 499  # nginx writes it down for who left before the head
_UPSTREAM_FAILED = frozenset(
    {"UF", "UC", "UH", "UO", "UT", "UR", "URX", "LR", "NR", "NC", "UPE", "SI", "DF", "OM"}
)


class ReportError(ValueError):
    """It cannot be read."""


class Seen(msgspec.Struct):
    """What the Lua filter read. `usages` are JSON objects as they came, of a stream the first
    and the last that told any; `head` the first events of a stream, whole ones."""

    usages: tuple[str, ...] = ()
    is_final: bool = False
    is_stream: bool = False
    is_read: bool = False
    head: str = ""
    events: float = 0
    size: float = 0


@record
class Report:
    """`status` None: the caller got no answer. `is_upstreams`: the answer was the model API's."""

    ticket: str
    status: int | None
    outcome: Outcome
    is_upstreams: bool
    upstream_us: int | None
    request_us: int
    seen: Seen | None


def split_ticket(ticket: str) -> tuple[int, str]:
    """(the worker that decided, the decision's id). Raises ReportError."""
    worker, _, decision_id = ticket.partition("-")
    if not worker.isdecimal() or len(worker) > 4 or not decision_id or len(ticket) > 64:
        raise ReportError("no ticket of ours")
    return int(worker), decision_id


def of_envoy(told: Mapping[str, Any]) -> Report:
    """From an access log record as `envoy_config` asks for it. Raises ReportError."""
    flags = frozenset(str(told.get("flags") or "").split(","))
    outcome = Outcome.COMPLETE
    if flags & _CLIENT_LEFT:
        outcome = Outcome.CLIENT_LEFT
    elif flags & _UPSTREAM_FAILED:
        outcome = Outcome.UPSTREAM_FAILED
    seen, head = _seen(told.get("seen")), told.get("head")
    if seen is not None and isinstance(head, str) and head != "-":
        seen.head = head  # apart from the rest, which is written with every chunk
    is_upstreams = told.get("details") == "via_upstream" or bool(_count(told.get("up_ms")))
    return Report(
        _text(told.get("ticket")),
        _count(told.get("status")) or None,
        outcome,
        is_upstreams,
        _us(told.get("up_ms")),
        _us(told.get("ms")) or 0,
        seen,
    )


def of_nginx(told: Mapping[str, Any]) -> Report:
    """From the log line of the `hydragate` format. Raises ReportError."""
    status = _count(told.get("status"))
    # Without a head of the model API's there is no time to it, though nginx fills in a status.
    upstream_us = _seconds_us(told.get("up_s"))
    tries = str(told.get("upstream_status") or "").replace(":", ",").split(",")
    is_upstreams = upstream_us is not None and tries[-1].strip() == str(status)
    outcome = Outcome.COMPLETE if is_upstreams else Outcome.UPSTREAM_FAILED
    if status == 499 or told.get("completion") != "OK":
        outcome = Outcome.CLIENT_LEFT
    return Report(
        _text(told.get("ticket")),
        status,
        outcome,
        is_upstreams,
        upstream_us,
        _seconds_us(told.get("s")) or 0,
        _seen(told.get("seen")),
    )


def usage_of(report: Report, pending: Pending) -> Usage | None:
    """As a proxy would have read it; None where nothing was used."""
    is_unanswered = not report.is_upstreams or report.status in (None, _LEFT_UNANSWERED)
    if report.outcome is Outcome.CLIENT_LEFT and is_unanswered:
        return unanswered(pending.facts)
    if report.status is None or report.status >= 400 or not report.is_upstreams:
        return None
    shape = pending.shape
    if shape == "count_tokens":
        return Usage(input_tokens=0)
    seen = report.seen
    if shape in (None, "batch") or seen is None or not seen.is_read:
        return Usage()
    usages = [usage for text in seen.usages if (usage := _json(text)) is not None]
    if seen.is_stream:
        return _usage_of_stream(seen, usages, pending.facts, shape or "")
    if not usages:
        return Usage()
    told = told_by_anthropic if shape == "messages" else told_by_openai
    return told(usages[-1]).usage()


def timings_of(report: Report, pending: Pending) -> Timings:
    return Timings(pending.decision_us, report.upstream_us, report.request_us)


def _usage_of_stream(
    seen: Seen, usages: list[dict[str, Any]], facts: RequestFacts, shape: str
) -> Usage:
    dialect = STREAMS.get(shape)
    if dialect is None:
        return Usage()
    stream = StreamUsage(dialect, drops=False)
    stream.feed(seen.head.encode())
    stream.resume(
        usages, is_final=seen.is_final, events=int(seen.events), size_bytes=int(seen.size)
    )
    told = stream.told.usage()
    if stream.is_final:
        return told
    estimated = facts.estimated_input_tokens
    input_tokens = estimated if told.input_tokens is None else told.input_tokens
    output_tokens = max(told.output_tokens or 0, stream.partial_output_tokens())
    return Usage(input_tokens, told.cached_input_tokens, output_tokens)


def _seen(value: Any) -> Seen | None:
    """Envoy's record has it as text, nginx's line as the object itself."""
    if value in (None, "", "-"):
        return None
    try:
        if isinstance(value, dict):
            return msgspec.convert(value, Seen, strict=False)
        return msgspec.json.decode(value, type=Seen, strict=False)
    except (msgspec.MsgspecError, RecursionError, TypeError) as error:
        raise ReportError(f"the usage that was seen cannot be read: {error}") from None


def _json(text: str) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ReportError("a report without a ticket")
    return value


def _count(value: Any) -> int | None:
    """A number as it is or as text; None where there is none ("-")."""
    text = str(value)
    return int(text) if text.isdecimal() and len(text) < 16 else None


def _us(milliseconds: Any) -> int | None:
    found = _count(milliseconds)
    return None if found is None else found * 1000


def _seconds_us(value: Any) -> int | None:
    """nginx's seconds; of several tries the last. None for what is no time."""
    try:
        found = int(float(str(value).replace(":", ",").split(",")[-1]) * 1e6)
    except (ValueError, OverflowError):
        return None
    return found if found >= 0 else None
