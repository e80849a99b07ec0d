"""The program at the other end: its headers in wire order, its way to write JSON, its TLS stack.

Families are described in `clients.yaml`, from what unmodified public clients were seen to send.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

from ...policy.source import Report, parse_yaml
from .seeds import Weighted

Header = tuple[str, str]
HOSTS = {"openai": "api.openai.example", "anthropic": "api.anthropic.example"}
RETRY = "x-stainless-retry-count"


@dataclass(frozen=True, slots=True)
class Client:
    """One installed client. `spaces` and `is_ascii` say how it writes JSON."""

    family: str
    before: tuple[Header, ...]
    after: tuple[Header, ...]
    ja4: str
    is_spaced: bool
    is_ascii: bool

    def headers(self, body_bytes: int) -> list[Header]:
        """All fields of a request of that size, in wire order."""
        return [*self.before, ("content-length", str(body_bytes)), *self.after]

    def again(self, headers: list[Header], attempt: int) -> list[Header]:
        """The same request sent again; SDKs count their attempts in a header."""
        return [(n, str(attempt)) if n == RETRY else (n, value) for n, value in headers]


@cache
def families() -> dict[str, dict[str, Any]]:
    """The described families by name."""
    return dict(_described()["families"])


@cache
def _described() -> dict[str, Any]:
    path = Path(__file__).resolve().with_name("clients.yaml")
    report = Report()
    source = parse_yaml(path.read_bytes(), path.name, report)
    if source is None or report.has_errors:
        raise ValueError("; ".join(map(str, report.problems)))
    return dict(source.data)


@cache
def _systems() -> Weighted[tuple[str, str]]:
    return Weighted({(s["os"], s["arch"]): s["weight"] for s in _described()["systems"]})


def draw_client(rng: Random, family: str, host: str, *, tls: str | None = None) -> Client:
    """An installation of `family` that calls `host`; `tls` names the stack of whoever only
    imitates it."""
    described = families()[family]
    os_name, arch = _systems().draw(rng)
    version, runtime = rng.choice(described["versions"]), rng.choice(described["runtimes"])
    return _client(family, str(version), str(runtime), os_name, arch, tls or described["tls"], host)


@cache
def _client(
    family: str, version: str, runtime: str, os_name: str, arch: str, tls: str, host: str
) -> Client:
    described = families()[family]
    values = {"version": version, "runtime": runtime, "os": os_name, "arch": arch, "host": host}

    def filled(pairs: list[list[str]]) -> tuple[Header, ...]:
        return tuple((name, str(value).format_map(values)) for name, value in pairs)

    # A stack changes with its runtime's release, not with the package on top of it.
    release = runtime if tls == described["tls"] else "imitator"
    return Client(
        family=family,
        before=filled(described["before"]),
        after=filled(described["after"]),
        ja4=ja4_of(tls, release),
        is_spaced=described["style"] != "compact",
        is_ascii=described["style"] == "ascii",
    )


def stripped(client: Client) -> Client:
    """The same client with everything removed that a relay can do without."""
    keeps = ("host", "content-type", "accept", "connection")
    return Client(
        family="stripped",
        before=tuple(pair for pair in client.before if pair[0] in keeps),
        after=tuple(pair for pair in client.after if pair[0] in keeps),
        ja4=client.ja4,
        is_spaced=client.is_spaced,
        is_ascii=client.is_ascii,
    )


def ja4_of(tls: str, release: str) -> str:
    """A fingerprint of JA4's shape, one per stack and release, made up."""
    digest = blake2b(f"{tls}/{release}".encode(), digest_size=12).hexdigest()
    ciphers, extensions = 13 + int(digest[0], 16), 9 + int(digest[1], 16) % 8
    alpn = {"python": "h1", "requests": "00", "go": "h2", "curl": "h2"}.get(tls, "h2")
    return f"t13d{ciphers:02d}{extensions:02d}{alpn}_{digest[:12]}_{digest[12:]}"
