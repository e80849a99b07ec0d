"""The ways in that are listed without a policy saying so, and those it may add by name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..model import Route
from .hints import did_you_mean
from .schema import RawRoute, RawRoutes
from .source import Place, Report

POST = frozenset({"POST"})
GET = frozenset({"GET"})
GET_DELETE = frozenset({"GET", "DELETE"})
_ROUTE_NAME = re.compile(r"[a-z0-9_]{1,30}(\.[a-z0-9_]{1,30}){1,3}")
_PATH = re.compile(r"(/([A-Za-z0-9._~:@-]+|\*))+")
_MAX_PATH = 200
_OWN_PATHS = "/.hydragate"


def _route(name: str, methods: frozenset[str], path: str, shape: str | None) -> Route:
    return Route(
        name,
        methods,
        tuple(path.strip("/").split("/")),
        dialect=name.partition(".")[0],
        is_inference=_is_inference(shape),
        shape=shape,
    )


def _is_inference(shape: str | None) -> bool:
    """Counting tokens reads the body, but runs no model and uses none."""
    return shape not in (None, "count_tokens")


BUILT_IN = (
    _route("openai.chat_completions", POST, "/v1/chat/completions", "chat"),
    _route("openai.responses", POST, "/v1/responses", "responses"),
    _route("openai.embeddings", POST, "/v1/embeddings", "embeddings"),
    _route("openai.models", GET, "/v1/models", None),
    _route("openai.model", GET, "/v1/models/*", None),
    _route("anthropic.messages", POST, "/v1/messages", "messages"),
    _route("anthropic.count_tokens", POST, "/v1/messages/count_tokens", "count_tokens"),
)
"""Both vendors list models under `/v1/models`, so those two routes serve both SDKs."""

OPTIONAL = (
    _route("openai.completions", POST, "/v1/completions", "completions"),
    _route("openai.response", GET_DELETE, "/v1/responses/*", None),
    _route("openai.response_cancel", POST, "/v1/responses/*/cancel", None),
    _route("openai.response_input", GET, "/v1/responses/*/input_items", None),
    _route("anthropic.batches", POST, "/v1/messages/batches", "batch"),
    _route("anthropic.batch_list", GET, "/v1/messages/batches", None),
    _route("anthropic.batch", GET_DELETE, "/v1/messages/batches/*", None),
    _route("anthropic.batch_results", GET, "/v1/messages/batches/*/results", None),
    _route("anthropic.batch_cancel", POST, "/v1/messages/batches/*/cancel", None),
)
"""Known, and off until a policy adds them by name. Who reads by id reads what any account of the
same upstream key has stored, so none of that is listed unasked."""


def compile_routes(raw: RawRoutes, place: Place, report: Report) -> tuple[Route, ...]:
    """The built-in routes, less `remove`, with `add` and `custom`."""
    routes = {route.name: route for route in BUILT_IN}
    for index, name in enumerate(raw.remove):
        if routes.pop(name, None) is None:
            hint = did_you_mean(name, routes)
            report.error(place / "remove" / index, f"no such built-in route{hint}")
    optional = {route.name: route for route in OPTIONAL}
    for index, name in enumerate(raw.add):
        if name not in optional:
            hint = did_you_mean(name, optional)
            report.error(place / "add" / index, f"no such optional route{hint}")
        else:
            routes[name] = optional[name]
    for index, custom in enumerate(raw.custom):
        where = place / "custom" / index
        if custom.name in routes:
            report.error(where / "name", f"there is a route {custom.name} already")
        route = _custom(custom, where, report)
        _check_free(route, routes.values(), where, report)
        routes[custom.name] = route
    return tuple(routes.values())


def _custom(raw: RawRoute, place: Place, report: Report) -> Route:
    if not _ROUTE_NAME.fullmatch(raw.name):
        report.error(place / "name", "must be of the form vendor.operation, in lower case")
    is_ours = raw.path == _OWN_PATHS or raw.path.startswith(_OWN_PATHS + "/")
    if not _PATH.fullmatch(raw.path) or len(raw.path) > _MAX_PATH or is_ours or _has_dots(raw.path):
        report.error(
            place / "path", "must be a path of plain segments, * standing for one: /v1/rerank/*"
        )
    return Route(
        raw.name,
        frozenset(raw.methods),
        tuple(raw.path.strip("/").split("/")),
        dialect=raw.dialect,
        is_inference=_is_inference(raw.shape),
        shape=raw.shape,
    )


def _has_dots(path: str) -> bool:
    return any(segment.strip(".") == "" for segment in path.split("/")[1:])


def _check_free(route: Route, others: Iterable[Route], place: Place, report: Report) -> None:
    for other in others:
        if other.pattern == route.pattern and other.methods & route.methods:
            report.error(place / "path", f"is claimed by route {other.name} already")
