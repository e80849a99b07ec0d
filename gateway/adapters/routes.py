"""From method and path to a route of the policy, closed by default.

Law: a path matches only if every server would read the same path from it. Literal segments
match byte by byte; what fills a `*` is text of a small alphabet, percent-encoded or not. Dot
segments, empty segments, encoded slashes, backslashes, control characters, semicolons,
non-ASCII and paths over `MAX_PATH_BYTES` never match.

A listed path under another method is not listed either: a 405 would be a refusal of a second
kind, outside of the decision log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from ..errors import UsageError
from ..model import Route

MAX_PATH_BYTES = 256
WILDCARD = "*"
_FILLER = re.compile(rb"(?!\.+\Z)[A-Za-z0-9._~:@=+,-]+")
_DIALECTS = (
    ("/v1/messages", "anthropic"),
    ("/v1/complete", "anthropic"),
    ("/v1/", "openai"),
    ("/openai/", "openai"),
)


class RouteTable:
    """The routes of one policy. GET stands for HEAD too (RFC 9110 §9.3.2).

    Raises UsageError where two routes claim the same method and pattern.
    """

    __slots__ = ("_literal", "_patterns")

    def __init__(self, routes: Iterable[Route]) -> None:
        self._literal: dict[tuple[str, bytes], Route] = {}
        self._patterns: dict[tuple[str, int], list[tuple[tuple[bytes | None, ...], Route]]] = {}
        claims: dict[tuple[str, tuple[str, ...]], str] = {}
        for route in routes:
            for method in sorted(_with_head(route.methods)):
                claimed = claims.setdefault((method, route.pattern), route.name)
                if claimed != route.name:
                    path = "/" + "/".join(route.pattern)
                    raise UsageError(
                        f"routes {claimed} and {route.name} both claim {method} {path}"
                    )
                self._add(method, route)
        for patterns in self._patterns.values():
            patterns.sort(key=lambda entry: [segment is None for segment in entry[0]])

    def match(self, method: str, raw_path: bytes, path: str) -> Route | None:
        """The route of a request, None when it is not listed.

        `raw_path` is the path as received, without the query; where a server does not tell it
        (empty), `path`, the decoded one, is taken as received.
        """
        raw_path = raw_path or path.encode("utf-8", "surrogatepass")
        route = self._literal.get((method, raw_path))
        if route is not None or len(raw_path) > MAX_PATH_BYTES or raw_path[:1] != b"/":
            return route
        segments = raw_path[1:].split(b"/")
        for pattern, route in self._patterns.get((method, len(segments)), ()):
            if all(map(_fits, pattern, segments)):
                return route
        return None

    def _add(self, method: str, route: Route) -> None:
        segments = [s.encode("ascii") for s in route.pattern]
        if WILDCARD not in route.pattern:
            self._literal[method, b"/" + b"/".join(segments)] = route
            return
        pattern = tuple(None if s == WILDCARD.encode() else s for s in segments)
        self._patterns.setdefault((method, len(pattern)), []).append((pattern, route))


def dialect_of(path: str) -> str:
    """The dialect in which a path outside the route policy is refused."""
    for prefix, dialect in _DIALECTS:
        if path.startswith(prefix):
            return dialect
    return "problem"


def _with_head(methods: frozenset[str]) -> frozenset[str]:
    return methods | {"HEAD"} if "GET" in methods else methods


def _fits(expected: bytes | None, segment: bytes) -> bool:
    if expected is not None:
        return segment == expected
    decoded = unquote_to_bytes(segment) if b"%" in segment else segment
    return _FILLER.fullmatch(decoded) is not None
