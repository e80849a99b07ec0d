"""What is asked for: route, model, and the shape and size of the body.

Body facts are None on routes whose body is not read and where the body does not say.
"""

from __future__ import annotations

from ..model import SECOND_US, RequestFacts, Subject
from ..registry import signal

LAST_SECOND = 253_402_300_799  # of the year 9999: beyond it stand milliseconds


@signal("surface", type=str)
def surface(facts: RequestFacts, subject: Subject) -> str:
    """The way in: proxy, middleware, replay, ext_authz or auth_request."""
    return facts.surface


@signal("route", type=str)
def route(facts: RequestFacts, subject: Subject) -> str | None:
    """Name of the listed route, such as openai.chat_completions; an unlisted one is refused
    before any rule is asked."""
    return facts.route


@signal("dialect", type=str)
def dialect(facts: RequestFacts, subject: Subject) -> str:
    """openai, anthropic, or problem for neither."""
    return facts.dialect


@signal("method", type=str)
def method(facts: RequestFacts, subject: Subject) -> str:
    """The HTTP method in capitals."""
    return facts.method


@signal("path", type=str, is_free=True)
def path(facts: RequestFacts, subject: Subject) -> str:
    """The path without the query, at most 256 characters."""
    return facts.path


@signal("is_inference", type=bool)
def is_inference(facts: RequestFacts, subject: Subject) -> bool:
    """Whether the route runs a model and therefore uses tokens."""
    return facts.is_inference


@signal("model", type=str, is_free=True)
def model(facts: RequestFacts, subject: Subject) -> str | None:
    """The model named in the body, as the caller wrote it; None on routes without one."""
    return facts.model


@signal("stream", type=bool)
def stream(facts: RequestFacts, subject: Subject) -> bool | None:
    """Whether a streamed answer was asked for; None when the body does not say."""
    return facts.stream


@signal("items", type=int, is_free=True, low=0)
def items(facts: RequestFacts, subject: Subject) -> int:
    """Requests inside one batch call; 1 for every other call."""
    return facts.items


@signal("body_bytes", type=int, is_free=True, low=0)
def body_bytes(facts: RequestFacts, subject: Subject) -> int:
    """Size of the decoded body; 0 where the body is not read."""
    return facts.body_bytes


@signal("message_count", type=int, is_free=True, low=0)
def message_count(facts: RequestFacts, subject: Subject) -> int | None:
    """Messages of the conversation that was sent; None where there is no such list."""
    return facts.message_count


@signal("tool_count", type=int, is_free=True, low=0)
def tool_count(facts: RequestFacts, subject: Subject) -> int | None:
    """Tools that were declared; None when the body has no list of them."""
    return facts.tool_count


@signal("max_output_tokens", type=int, is_free=True, low=0)
def max_output_tokens(facts: RequestFacts, subject: Subject) -> int | None:
    """The caller's own bound on output tokens; None when it set none."""
    return facts.max_output_tokens


@signal("temperature", type=float, is_free=True)
def temperature(facts: RequestFacts, subject: Subject) -> float | None:
    """Sampling temperature; None when the caller left the default."""
    return facts.temperature


@signal("estimated_input_tokens", type=int, is_free=True, low=0)
def estimated_input_tokens(facts: RequestFacts, subject: Subject) -> int:
    """Input tokens as estimated from the body's size; 0 on routes that run no model."""
    return facts.estimated_input_tokens


@signal("estimated_output_tokens", type=int, is_free=True, low=0)
def estimated_output_tokens(facts: RequestFacts, subject: Subject) -> int:
    """Output tokens as estimated from the model's mean and the caller's bound."""
    return facts.estimated_output_tokens


@signal("estimated_total_tokens", type=int, is_free=True, low=0)
def estimated_total_tokens(facts: RequestFacts, subject: Subject) -> int:
    """Estimated input and output tokens together."""
    return facts.estimated_input_tokens + facts.estimated_output_tokens


@signal("received_s", type=int, low=0, high=LAST_SECOND)
def received_s(facts: RequestFacts, subject: Subject) -> int:
    """When the request arrived, Unix seconds UTC."""
    return facts.received_us // SECOND_US
