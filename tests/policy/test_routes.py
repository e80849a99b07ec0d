"""The list of ways in."""

from __future__ import annotations

import pytest

from gateway.adapters.body import SHAPES
from gateway.adapters.routes import RouteTable
from gateway.model import Route
from gateway.policy.routes import BUILT_IN, OPTIONAL
from gateway.policy.schema import RawRoute

from .builders import HEAD, compiled, problems


def routes(text: str) -> dict[str, Route]:
    policy = compiled(HEAD + f"routes: {text}")
    return {route.name: route for route in policy.routes}


def test_without_a_word_both_dialects_are_served() -> None:
    table = RouteTable(compiled(HEAD).routes)
    served = {
        ("POST", "/v1/chat/completions"): "openai.chat_completions",
        ("POST", "/v1/responses"): "openai.responses",
        ("POST", "/v1/embeddings"): "openai.embeddings",
        ("GET", "/v1/models"): "openai.models",
        ("GET", "/v1/models/gpt-5"): "openai.model",
        ("POST", "/v1/messages"): "anthropic.messages",
        ("POST", "/v1/messages/count_tokens"): "anthropic.count_tokens",
    }
    for (method, path), name in served.items():
        route = table.match(method, path.encode(), path)
        assert route is not None
        assert route.name == name
    for method, path in (("POST", "/v1/messages/batches"), ("DELETE", "/v1/models/gpt-5")):
        assert table.match(method, path.encode(), path) is None


def test_counting_tokens_reads_the_body_and_uses_none() -> None:
    inference = {route.name: route.is_inference for route in BUILT_IN}
    assert inference["anthropic.count_tokens"] is False
    assert inference["openai.models"] is False
    assert inference["anthropic.messages"] is True


def test_every_shape_of_a_route_has_a_reader() -> None:
    assert {route.shape for route in (*BUILT_IN, *OPTIONAL)} - {None} == SHAPES
    for shape in SHAPES:
        raw = {"name": "a.b", "methods": ["POST"], "path": "/x", "dialect": "openai"}
        assert RawRoute.model_validate(raw | {"shape": shape}).shape == shape


def test_routes_are_added_removed_and_made() -> None:
    found = routes(
        "{add: [anthropic.batches], remove: [openai.embeddings], custom: "
        "[{name: own.rerank, methods: [POST], path: /v1/rerank/*, dialect: openai, shape: chat}]}"
    )
    assert "openai.embeddings" not in found
    assert found["anthropic.batches"].shape == "batch"
    own = found["own.rerank"]
    assert (own.pattern, own.methods, own.is_inference) == (
        ("v1", "rerank", "*"),
        frozenset({"POST"}),
        True,
    )


BY_ID = {
    ("GET", "/v1/messages/batches"): "anthropic.batch_list",
    ("GET", "/v1/messages/batches/msgbatch_1"): "anthropic.batch",
    ("DELETE", "/v1/messages/batches/msgbatch_1"): "anthropic.batch",
    ("GET", "/v1/messages/batches/msgbatch_1/results"): "anthropic.batch_results",
    ("POST", "/v1/messages/batches/msgbatch_1/cancel"): "anthropic.batch_cancel",
    ("GET", "/v1/responses/resp_1"): "openai.response",
    ("DELETE", "/v1/responses/resp_1"): "openai.response",
    ("POST", "/v1/responses/resp_1/cancel"): "openai.response_cancel",
    ("GET", "/v1/responses/resp_1/input_items"): "openai.response_input",
}


@pytest.mark.parametrize(("method", "path"), BY_ID, ids=lambda one: one)
def test_what_is_made_in_the_background_is_read_by_routes_that_are_added(
    method: str, path: str
) -> None:
    name = BY_ID[method, path]
    assert RouteTable(compiled(HEAD).routes).match(method, path.encode(), path) is None
    added = RouteTable(routes(f"{{add: [anthropic.batches, {name}]}}").values())
    found = added.match(method, path.encode(), path)
    assert found is not None
    assert (found.name, found.is_inference) == (name, False)


CUSTOM = "{custom: [{name: a.b, methods: [POST], path: /x, dialect: openai}]}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{remove: [openai.embedings]}",
            "remove[0]: no such built-in route; did you mean openai.embeddings?",
        ),
        (
            "{add: [anthropic.batchs]}",
            "add[0]: no such optional route; did you mean anthropic.batches?",
        ),
        (
            CUSTOM.replace("a.b", "openai.models"),
            "custom[0].name: there is a route openai.models already",
        ),
        (
            CUSTOM.replace("a.b", "rerank"),
            "custom[0].name: must be of the form vendor.operation, in lower case",
        ),
        (
            CUSTOM.replace("/x", "/v1/messages"),
            "custom[0].path: is claimed by route anthropic.messages already",
        ),
        (CUSTOM.replace("POST", "TRACE"), "custom[0].methods[0]: must be GET, POST, PUT, PATCH or "
         "DELETE, not 'TRACE'"),
        (CUSTOM.replace("[POST]", "[]"), "custom[0].methods: must have at least 1 entries"),
        (CUSTOM.replace("openai", "own"), "custom[0].dialect: must be openai, anthropic or "
         "problem, not 'own'"),
        *[
            (
                CUSTOM.replace("/x", path),
                "custom[0].path: must be a path of plain segments, * standing for one: "
                "/v1/rerank/*",
            )
            for path in ("x", "/", "/a//b", "/a/../b", "/a?b", "/a*", "'/ä'", "/.hydragate/me")
        ],
    ],
)  # fmt: skip
def test_a_mistake_in_the_routes_is_named_with_its_place(text: str, message: str) -> None:
    assert problems(HEAD + f"routes: {text}") == [f"a.yaml:3: routes.{message}"]
