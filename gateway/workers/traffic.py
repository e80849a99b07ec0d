"""Traffic log v1 (CONTRACTS §2): JSON Lines, plain, gzip or zstandard, read line by line.

A bad line is reported with its number, counted and skipped; it costs no other line.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import IO, cast

import msgspec
import zstandard

from ..errors import Problem, UsageError

MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_PROBLEMS = 100
MAX_BAD_SHARE = 0.01
NO_BODY = msgspec.Raw(b"null")


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
    """One line. `body` is the raw JSON of the request, so that it is read as live traffic is;
    `null` where the operator keeps none."""

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


@dataclass(slots=True)
class ReadReport:
    """`problems` is cut at `MAX_PROBLEMS`; `bad` counts them all."""

    lines: int = 0
    bad: int = 0
    out_of_order: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_unusable(self) -> bool:
        """More than 1 % bad lines."""
        return self.bad > MAX_BAD_SHARE * self.lines


def open_log(path: Path) -> IO[bytes]:
    """The file's lines, decompressed by its name. Raises UsageError."""
    try:
        if path.suffix == ".gz":
            return cast(IO[bytes], gzip.open(path, "rb"))
        if path.suffix == ".zst":
            return io.BufferedReader(zstandard.open(path, "rb"), buffer_size=1 << 20)
        return path.open("rb")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def read_traffic(path: Path, report: ReadReport) -> Iterator[LoggedRequest | None]:
    """Every line in file order, None for a bad one, so that outputs keep their line numbers.

    A truncated archive ends the reading with a problem. Raises UsageError when it cannot open.
    """
    decode = msgspec.json.Decoder(LoggedRequest).decode
    last_ts = 0.0
    with open_log(path) as lines:
        for line in _lines(lines, path, report):
            report.lines += 1
            try:
                request = _checked(decode(line))
            except (msgspec.MsgspecError, ValueError) as error:
                _complain(report, path, str(error))
                yield None
                continue
            if request.ts < last_ts:
                report.out_of_order += 1
            last_ts = max(last_ts, request.ts)
            yield request


def _lines(lines: IO[bytes], path: Path, report: ReadReport) -> Iterator[bytes]:
    while True:
        try:
            line = lines.readline(MAX_LINE_BYTES)
        except (OSError, EOFError, zstandard.ZstdError) as error:
            report.lines += 1
            _complain(report, path, f"the archive is broken here: {error}")
            return
        if not line:
            return
        yield line


def _checked(request: LoggedRequest) -> LoggedRequest:
    if not 0 <= request.ts < 1e11:
        raise ValueError("ts: Unix seconds UTC")
    if not request.account_id or len(request.account_id) > 128:
        raise ValueError("account_id: 1 to 128 characters")
    if request.client_ip is not None:
        ip_address(request.client_ip)
    return request


def _complain(report: ReadReport, path: Path, message: str) -> None:
    report.bad += 1
    if len(report.problems) < MAX_PROBLEMS:
        report.problems.append(Problem(str(path), report.lines, "", message))
