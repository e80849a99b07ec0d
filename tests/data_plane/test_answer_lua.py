"""The Lua that reads answers inside Envoy and nginx equals the proxy's own reader, however a stream
is cut. Run by the LuaJIT of a real nginx."""

from __future__ import annotations

import json
import random
import urllib.request
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gateway.adapters.data_plane
from gateway.adapters.data_plane.reports import Seen, of_nginx, usage_of
from gateway.adapters.usage import UsageReader
from gateway.loadtests.servers.nginx import start_nginx
from gateway.loadtests.servers.ports import free_port
from gateway.model import Usage

from .planes import tool, wait_until_open
from .test_reports import NGINX, pending

# A line of what it is, then each chunk after a line with its length; back come the length of what
# was seen, that, and what passed.
SITE = """
lua_package_path "{folder}/?.lua;;";
server {{
    listen 127.0.0.1:{port};
    client_max_body_size 8m;
    client_body_buffer_size 8m;
    location / {{ content_by_lua_block {{
        local answer = require "answer"
        ngx.req.read_body()
        local body = ngx.req.get_body_data()
        local kind, hides, at = body:match("^(%S+) (%d)\\n()")
        local seen = answer.seen(200, kind, nil, hides == "1")
        local passed = {{}}
        while at <= #body do
            local size, from = body:match("^(%d+)\\n()", at)
            at = from + tonumber(size)
            passed[#passed + 1] = answer.feed(seen, body:sub(from, at - 1))
        end
        passed[#passed + 1] = answer.finish(seen)
        local text = answer.whole_as_json(seen)
        ngx.print(#text, "\\n", text, table.concat(passed))
    }} }}
}}
"""
Read = Callable[[str, bool, list[bytes]], tuple[Seen, bytes]]


@pytest.fixture(scope="module")
def lua(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Read]:
    folder, port = tmp_path_factory.mktemp("lua"), free_port()
    source = files(gateway.adapters.data_plane) / "answer.lua"
    (folder / "answer.lua").write_text(source.read_text())
    (folder / "site.conf").write_text(SITE.format(folder=folder, port=port))
    process = start_nginx(tool("nginx"), folder, has_lua=True)

    def read(kind: str, hides: bool, chunks: list[bytes]) -> tuple[Seen, bytes]:
        body = f"{kind} {int(hides)}\n".encode()
        body += b"".join(b"%d\n%b" % (len(chunk), chunk) for chunk in chunks)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", body, timeout=10) as answer:
            size, _, rest = answer.read().partition(b"\n")
        told = json.loads(rest[: int(size)].decode(errors="replace"))
        report = of_nginx({**NGINX, "seen": told})
        assert report.seen is not None
        return report.seen, rest[int(size) :]

    try:
        wait_until_open(port)
        yield read
    finally:
        process.stop()


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
TALKS_OF_USAGE = 'he said "usage": {"prompt_tokens": 9} and {"_tokens": 1}\n\ndata: {"choices":[]}'


def sent(value: object, *, event: str | None = None) -> str:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {value if isinstance(value, str) else json.dumps(value)}\n\n"


def delta(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


CHAT = (
    sent(delta("a")),
    sent(delta("wörter 字 \u2028")),
    sent(delta(TALKS_OF_USAGE)),
    sent({**delta("x"), "usage": None}),
    sent({**delta("with usage"), "usage": USAGE}),
    sent({"choices": [], "usage": USAGE}),
    ": keep alive\n\n",
    sent(delta("crlf")).replace("\n", "\r\n"),
    sent("[DONE]"),
    "\n",
)
MESSAGES = (
    sent({"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1}}}),
    sent({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hello"}}),
    sent({"type": "ping"}, event="ping"),
    sent({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 11}}),
    sent({"type": "message_stop"}, event="message_stop"),
)
# What an answer repeats of its request is the caller's: here a tool's schema with a member `usage`.
CALLERS = {"usage": {"input_tokens": 0, "output_tokens": 0}, "type": "response.completed"}
CREATED = {"type": "response.created", "response": {"usage": None, "tools": [CALLERS]}}
RESPONSES = (
    sent(CREATED, event="response.created"),
    sent({**CREATED, "type": "response.in_progress"}),
    sent({"type": "response.output_text.delta", "delta": "hello"}, event="x"),
    sent({"type": "response.output_text.done", "text": "hello again"}),
    sent({"type": "response.completed", "response": {"usage": {"input_tokens": 5,
          "output_tokens": 6}}}),
)  # fmt: skip
STREAMS = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES}


def cut(stream: bytes, seed: int) -> list[bytes]:
    """In one to many pieces anywhere, or after whole events as servers mostly write them."""
    rng = random.Random(seed)
    if rng.random() < 0.4:
        *events, rest = stream.split(b"\n\n")
        return [*(event + b"\n\n" for event in events), rest]
    places = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randrange(9)))
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


def proxys(shape: str, hides: bool, chunks: list[bytes]) -> tuple[Usage, bytes]:
    reader = UsageReader(
        shape, content_type=b"text/event-stream", content_encoding=b"", hides_usage=hides
    )
    passed = b"".join([*map(reader.feed, chunks), reader.finish()])
    return reader.usage(estimated_input_tokens=0), passed


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_stream_is_read_and_passed_as_the_proxy_does(lua: Read, data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from(sorted(STREAMS)))
    hides = shape == "chat" and data.draw(st.booleans())
    events = data.draw(st.lists(st.sampled_from(STREAMS[shape]), min_size=1, max_size=30))
    opening = MESSAGES[0]  # at the beginning of its stream, or the stream has none
    events.sort(key=lambda event: event != opening)
    stream = "".join(events).encode()
    chunks = cut(stream, data.draw(st.integers(0, 10**6)))
    seen, passed = lua("text/event-stream", hides, chunks)
    usage, proxys_passed = proxys(shape, hides, chunks)
    assert passed == (proxys_passed if hides else stream)
    report = of_nginx(
        {**NGINX, "seen": {name: getattr(seen, name) for name in Seen.__struct_fields__}}
    )
    assert usage_of(report, pending(shape)) == usage


def test_a_schema_of_the_callers_is_no_usage_when_it_leaves_before_the_end(lua: Read) -> None:
    stream = sent(CREATED, event="response.created") + RESPONSES[2] * 40
    seen, _ = lua("text/event-stream", False, [stream.encode()])
    told = {name: getattr(seen, name) for name in Seen.__struct_fields__}
    left = of_nginx({**NGINX, "status": 200, "completion": "", "seen": told})
    usage = usage_of(left, pending("responses"))
    assert usage is not None
    assert (usage.output_tokens or 0) >= 40, "a token an event"


@pytest.mark.parametrize("padding", [0, 70_000, 200_000])
def test_usage_is_found_at_the_end_of_a_json_answer(lua: Read, padding: int) -> None:
    said = {"choices": [{"message": {"content": TALKS_OF_USAGE + "x" * padding}}], "usage": USAGE}
    whole = json.dumps(said).encode()
    seen, passed = lua(
        "application/json", False, [whole[i : i + 9_000] for i in range(0, len(whole), 9_000)]
    )
    assert passed == whole
    assert [json.loads(text) for text in seen.usages] == [USAGE]
