from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.routes import MAX_PATH_BYTES, RouteTable, dialect_of
from gateway.errors import UsageError
from gateway.model import Route


def route(name: str, path: str, *methods: str) -> Route:
    pattern = tuple(path[1:].split("/"))
    return Route(name, frozenset(methods or ("POST",)), pattern, "openai", True, "chat")


CHAT = route("chat", "/v1/chat/completions")
MODELS = route("models", "/v1/models", "GET")
MODEL = route("model", "/v1/models/*", "GET", "DELETE")
MINE = route("mine", "/v1/models/mine", "GET")
RESULTS = route("results", "/v1/messages/batches/*/results", "GET")
LATEST = route("latest", "/v1/messages/batches/latest/*", "GET")
TABLE = RouteTable([MODEL, CHAT, MODELS, MINE, RESULTS, LATEST])


def match(method: str, raw_path: str) -> str | None:
    found = TABLE.match(method, raw_path.encode("utf-8"), "/other")
    return None if found is None else found.name


MATCHING = [
    ("POST", "/v1/chat/completions", "chat"),
    ("GET", "/v1/models", "models"),
    ("HEAD", "/v1/models", "models"),
    ("GET", "/v1/models/gpt-5", "model"),
    ("DELETE", "/v1/models/gpt-5", "model"),
    ("HEAD", "/v1/models/gpt-5", "model"),
    ("GET", "/v1/models/ft:gpt-4o:org::id", "model"),
    ("GET", "/v1/models/ft%3Agpt-4o%3Aorg", "model"),
    ("GET", "/v1/models/mine", "mine"),
    ("GET", "/v1/models/m%69ne", "model"),
    ("GET", "/v1/models/..x", "model"),
    ("GET", "/v1/messages/batches/b_1/results", "results"),
    ("GET", "/v1/messages/batches/latest/x", "latest"),
]
NEVER = [
    ("GET", "/v1/chat/completions"),
    ("HEAD", "/v1/chat/completions"),
    ("OPTIONS", "/v1/models"),
    ("post", "/v1/chat/completions"),
    ("POST", "/v1/chat/completions/"),
    ("POST", "/v1/chat//completions"),
    ("POST", "//v1/chat/completions"),
    ("POST", "/V1/chat/completions"),
    ("POST", "/v1/chat%2Fcompletions"),
    ("POST", "/v1/ch%61t/completions"),
    ("POST", "/v1/./chat/completions"),
    ("POST", "/v1/models/../chat/completions"),
    ("POST", "v1/chat/completions"),
    ("POST", "http://a/v1/chat/completions"),
    ("POST", "/v1/chat/completions\x00"),
    ("POST", "/v1/chat/completions;a=b"),
    ("POST", "/v1/chat\\completions"),
    ("GET", "/v1/models/"),
    ("GET", "/v1/models/."),
    ("GET", "/v1/models/.."),
    ("GET", "/v1/models/..."),
    ("GET", "/v1/models/%2e%2E"),
    ("GET", "/v1/models/..;"),
    ("GET", "/v1/models/a%2Fb"),
    ("GET", "/v1/models/a%5cb"),
    ("GET", "/v1/models/a%00"),
    ("GET", "/v1/models/a%252Fb"),
    ("GET", "/v1/models/a%zz"),
    ("GET", "/v1/models/a b"),
    ("GET", "/v1/models/a%20b"),
    ("GET", "/v1/models/a?b"),
    ("GET", "/v1/models/a#b"),
    ("GET", "/v1/models/\u00e9"),
    ("GET", "/v1/models/%c3%a9"),
    ("GET", "/v1/models/a\n"),
    ("GET", "/v1/models/*/x"),
    ("GET", "/v1/models/" + "m" * MAX_PATH_BYTES),
    ("GET", ""),
    ("GET", "/"),
    ("GET", "*"),
]


@pytest.mark.parametrize(("method", "path", "name"), MATCHING, ids=lambda value: str(value))
def test_a_listed_path_matches_its_most_literal_route(method: str, path: str, name: str) -> None:
    assert match(method, path) == name


@pytest.mark.parametrize(("method", "path"), NEVER, ids=lambda value: repr(value)[:40])
def test_what_another_server_could_read_differently_never_matches(method: str, path: str) -> None:
    assert match(method, path) is None


@settings(max_examples=500)
@given(st.text("/.%2eEfF5cC\\;:a-*~_ \x00\u00e9", max_size=20))
def test_a_wildcard_is_only_ever_one_harmless_segment(filler: str) -> None:
    if match("GET", f"/v1/models/{filler}") is not None:
        assert "/" not in filler
        assert not set(filler) & set("\\; \x00\u00e9*")
        assert filler.strip(".")


def test_a_server_that_tells_no_raw_path_is_matched_by_the_decoded_one() -> None:
    assert TABLE.match("GET", b"", "/v1/models/x") is MODEL
    assert TABLE.match("GET", b"", "/v1/models/x/../y") is None
    assert TABLE.match("GET", b"", "/v1/models/\u00e9") is None
    assert TABLE.match("GET", b"", "/v1/models/\udcff") is None


def test_the_order_of_routes_never_matters() -> None:
    backwards = RouteTable([LATEST, RESULTS, MINE, MODELS, CHAT, MODEL])
    for method, path, name in MATCHING:
        found = backwards.match(method, path.encode(), path)
        assert found is not None
        assert found.name == name
    # Both patterns fit; the one whose literal comes first wins.
    for table in (TABLE, backwards):
        assert table.match("GET", b"/v1/messages/batches/latest/results", "") is LATEST


def test_two_routes_with_one_claim_fail_at_once() -> None:
    with pytest.raises(UsageError, match=r"a and b both claim GET /v1/models/\*"):
        RouteTable([route("a", "/v1/models/*", "GET"), route("b", "/v1/models/*", "POST", "GET")])


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/messages", "anthropic"),
        ("/v1/messages/batches", "anthropic"),
        ("/v1/files", "openai"),
        ("/admin", "problem"),
        ("", "problem"),
    ],
)
def test_an_unlisted_path_is_refused_in_the_dialect_it_looks_like(path: str, dialect: str) -> None:
    assert dialect_of(path) == dialect
