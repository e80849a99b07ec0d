"""Traffic log v1 (CONTRACTS §2): one line in, one request out, or a complaint with its number.

A bad line is reported, counted and skipped; it costs no other line. Headers and addresses that
repeat are read once: a log has few different ones, and reading them again for each line would
cost more than deciding it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec

from ..adapters.facts import Software, software_of
from ..adapters.header_plan import RequestPlan, request_plan
from ..errors import Problem
from ..model import SECOND_US

MAX_PROBLEMS = 100
MAX_BAD_SHARE = 0.01
MAX_LATENCY_MS = 86_400_000.0  # a day: what is in flight is kept in memory
MAX_KEPT_HEADERS = 16_384
MAX_HEADERS_BYTES = 65_536
LATE_US = SECOND_US  # clocks of several writers may differ by this much
NO_BODY = msgspec.Raw(b"null")
TOO_LONG = b"\0too long"  # stands for a line over the reader's bound

Head = tuple[RequestPlan, Software]
"""What follows from the names of the headers, and what they say of the caller's software."""


class LoggedResponse(msgspec.Struct):
    """What came back; tokens are None where the log does not say. `body` is the raw JSON of the
    answer (of a stream: the assembled message), unparsed until somebody wants it."""

    status: int = 200
    latency_ms: float = 0.0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int = 0
    stream: bool | None = None
    body: msgspec.Raw = NO_BODY


class LoggedRequest(msgspec.Struct):
    """One line as it is written. `body` is the raw JSON of the request, so that it is read as
    live traffic is; `null` where the operator keeps none."""

    ts: float
    account_id: str
    method: str
    path: str
    key_id: str | None = None
    client_ip: str | None = None
    headers: list[tuple[str, str]] = []
    ja4: str | None = None
    body: msgspec.Raw = NO_BODY
    response: LoggedResponse | None = None


class TrafficLine(msgspec.Struct, gc=False):
    """The same line as it is read: `headers` still raw, see `head_of`."""

    ts: float
    account_id: str
    method: str
    path: str
    key_id: str | None = None
    client_ip: str | None = None
    headers: msgspec.Raw = msgspec.Raw(b"[]")
    ja4: str | None = None
    body: msgspec.Raw = NO_BODY
    response: LoggedResponse | None = None


@dataclass(slots=True)
class ReadReport:
    """What reading came to. `late`: lines decided over a second of event time after their own.

    `problems` is cut at `MAX_PROBLEMS`; `bad` counts them all. `is_cut`: the log ended before
    its end, and nobody knows how much of it is missing.
    """

    lines: int = 0
    bad: int = 0
    out_of_order: int = 0
    late: int = 0
    problems: list[Problem] = field(default_factory=list)
    is_cut: bool = False

    @property
    def is_unusable(self) -> bool:
        """Part of it is missing, or more than 1 % of the lines are bad, or so late that their
        limits mean nothing."""
        return self.is_cut or self.bad + self.late > MAX_BAD_SHARE * self.lines

    def complain_of_cut(self, name: str, line: int, message: str) -> None:
        """There is no such line, and there should be."""
        self.lines += 1
        self.is_cut = True
        self.complain(name, line, message)

    def complain(self, name: str, line: int, message: str) -> None:
        self.bad += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(name, line, "", message))

    def note_order(self, name: str, line: int, behind_us: int) -> None:
        """A line came `behind_us` after a later one."""
        self.out_of_order += 1
        if behind_us <= LATE_US:
            return
        if self.late == 0 and len(self.problems) < MAX_PROBLEMS:
            message = (
                f"{behind_us / SECOND_US:.1f} s earlier than a line before it, so it is decided "
                "late: sort the log by ts, or say --reorder-s (told once; all are counted)"
            )
            self.problems.append(Problem(name, line, "", message, is_warning=True))
        self.late += 1


class LineReader:
    """Turns raw lines into requests; `name` stands for the log in complaints."""

    def __init__(self, name: str, report: ReadReport) -> None:
        self._name = name
        self._report = report
        self._decode = msgspec.json.Decoder(TrafficLine).decode

    def read(self, number: int, raw: bytes) -> TrafficLine | None:
        """None for a bad line, which the report then holds."""
        self._report.lines += 1
        if raw is TOO_LONG:
            self._report.complain(self._name, number, "the line is too long")
            return None
        try:
            line = self._decode(raw)
            _check(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            cut = "" if raw.endswith(b"\n") else "the log breaks off here: "
            self._report.complain(self._name, number, cut + str(error))
            return None
        return line


def instant_us(ts: float) -> int:
    """Unix seconds to microseconds, to the nearest: 1776816000.029 has no exact double."""
    return round(ts * SECOND_US)


@lru_cache(maxsize=131_072)
def address_of(text: str) -> IPv4Address | IPv6Address:
    """Raises ValueError."""
    return ip_address(text)


_decode_headers = msgspec.json.Decoder(list[tuple[str, str]]).decode
_kept_heads: dict[bytes, Head] = {}
_latest: tuple[msgspec.Raw, Head] | None = None  # checked when it is read, asked for soon after
_LENGTH = b'["content-length","'


def head_of(raw: msgspec.Raw) -> Head:
    """What the names of the fields say, and the software they tell of; never changed by anybody.

    Raises msgspec.MsgspecError or ValueError for what is no list of pairs.
    """
    global _latest
    if _latest is not None and _latest[0] is raw:
        return _latest[1]
    key = _without_length(bytes(raw))
    kept = _kept_heads.get(key)
    if kept is None:
        if len(key) > MAX_HEADERS_BYTES:
            raise ValueError(f"headers: over {MAX_HEADERS_BYTES} bytes")
        if len(_kept_heads) >= MAX_KEPT_HEADERS:
            _kept_heads.clear()
        headers = headers_of(raw)
        plan = request_plan(headers)
        kept = _kept_heads[key] = plan, software_of(headers, plan)
    _latest = raw, kept
    return kept


def headers_of(raw: msgspec.Raw) -> list[tuple[bytes, bytes]]:
    """The fields in wire order as a surface would have them. Raises msgspec.MsgspecError."""
    return [
        (name.lower().encode("latin-1", "replace"), value.encode())
        for name, value in _decode_headers(raw)
    ]


def _without_length(key: bytes) -> bytes:
    """Without the digits of Content-Length: in many logs two heads differ in nothing else. In JSON
    what is looked for cannot be a part of a value, whose quotes would be escaped."""
    at = key.find(_LENGTH) + len(_LENGTH)
    if at < len(_LENGTH):
        return key
    end = key.find(b'"', at)
    return key[:at] + key[end:] if key[at:end].isdigit() else key


def _check(line: TrafficLine) -> None:
    if not 0 <= line.ts < 1e11:
        raise ValueError("ts: Unix seconds UTC")
    if not 0 < len(line.account_id) <= 128:
        raise ValueError("account_id: 1 to 128 characters")
    if line.key_id is not None and len(line.key_id) > 128:
        raise ValueError("key_id: at most 128 characters")
    if line.client_ip is not None:
        address_of(line.client_ip)
    head_of(line.headers)
    response = line.response
    if response is not None and not 0 <= response.latency_ms <= MAX_LATENCY_MS:
        raise ValueError("response.latency_ms: 0 to a day")
