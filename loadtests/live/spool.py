"""Shots on disk, one file a driver process: read as they come due, never all in memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...errors import UsageError
from ...workers.traffic import LoggedRequest
from .window import Window, World, key_of

LENGTH = struct.Struct("<I")
# Said by the driver, or about the connection; a log's own would contradict what is sent.
DROPPED = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "connection", "authorization"),
        *("x-api-key", "x-forwarded-for", "accept-encoding", "expect"),
    }
)


class Spooled(msgspec.Struct, array_like=True):
    """One shot; `number` is its line in the decisions, from 1."""

    number: int
    due_s: float
    account_id: str
    campaign: str | None
    wire: bytes


@dataclass(frozen=True, slots=True)
class Spool:
    """The files, and how many shots they hold in all."""

    files: list[Path]
    count: int


def spool(
    world: World, window: Window, folder: Path, *, processes: int, seed: bytes, most: int
) -> Spool:
    """Write every exchange of the window, in turn to the processes.

    Raises UsageError where there are more than `most`, or none.
    """
    files = [folder / f"shots-{i}.bin" for i in range(processes)]
    number = 0
    encode = msgspec.msgpack.Encoder().encode
    with ExitStack() as stack:
        handles = [stack.enter_context(file.open("wb")) for file in files]
        for number, (request, campaign) in enumerate(window.exchanges(world), 1):
            if number > most:
                raise UsageError(f"over {most:,} exchanges in the window; shorten it or raise it")
            shot = Spooled(
                number,
                window.due_s(request.ts),
                request.account_id,
                campaign,
                wire_of(request, key_of(seed, request.account_id, request.key_id)),
            )
            packed = encode(shot)
            handles[number % processes].write(LENGTH.pack(len(packed)) + packed)
    if number == 0:
        raise UsageError("no exchange lies in the window; choose other hours")
    return Spool(files, number)


def read_spool(file: Path) -> Iterator[Spooled]:
    """The shots of one process, in order of `due_s`."""
    decode = msgspec.msgpack.Decoder(Spooled).decode
    with file.open("rb") as handle:
        while head := handle.read(LENGTH.size):
            (size,) = LENGTH.unpack(head)
            yield decode(handle.read(size))


def wire_of(request: LoggedRequest, key: str) -> bytes:
    """The request on the wire, with the key where its dialect carries one.

    The client's address goes into `x-forwarded-for`, for a gateway that trusts the driver's.
    """
    body = bytes(request.body)
    is_anthropic = any(name == "anthropic-version" for name, _ in request.headers)
    lines = [f"{request.method} {request.path} HTTP/1.1", "host: gateway"]
    lines.append(f"x-api-key: {key}" if is_anthropic else f"authorization: Bearer {key}")
    if request.client_ip is not None:
        lines.append(f"x-forwarded-for: {request.client_ip}")
    lines += [f"{name}: {value}" for name, value in request.headers if name not in DROPPED]
    lines += [f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace") + body
