"""The stand-in model API under the vendors' own SDKs, and what its controls do."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import anthropic
import httpx
import openai
import pytest

from gateway.loadtests.processes import standin

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
OPENAI_TOOLS: Any = [{"type": "function", "function": {"name": "w", "parameters": PARAMETERS}}]
RESPONSES_TOOLS: Any = [{"type": "function", "name": "w", "parameters": PARAMETERS}]
ANTHROPIC_TOOLS: Any = [{"name": "w", "input_schema": PARAMETERS}]
HELLO: Any = [{"role": "user", "content": "Hello"}]
CHAT: Any = {"model": "stand-in", "messages": HELLO}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with standin("--time-scale", "0") as running:
        yield running


@pytest.fixture
def gpt(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-any", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(url: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=url, api_key="sk-any", max_retries=0) as client:
        yield client


def post(url: str, body: Any, *, path: str = "/v1/chat/completions", controls: str = "") -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(url + path, content=raw, headers={"x-standin": controls}, timeout=20)


def steered(controls: str) -> dict[str, str]:
    return {"x-standin": controls}


class TestOpenAI:
    @pytest.mark.parametrize("choices", [1, 3])
    def test_a_stream_carries_every_choice_and_its_usage_last(
        self, gpt: openai.OpenAI, choices: int
    ) -> None:
        chunks = list(
            gpt.chat.completions.create(
                **CHAT, n=choices, stream=True, stream_options={"include_usage": True},
                extra_headers=steered("tokens=5"),
            )
        )  # fmt: skip
        texts = dict.fromkeys(range(choices), "")
        for chunk in chunks[:-1]:
            assert chunk.usage is None
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        assert [len(text.split()) for text in texts.values()] == [5] * choices
        assert chunks[-1].choices == []
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 5 * choices

    def test_an_answer_cut_at_the_maximum_says_so(self, gpt: openai.OpenAI) -> None:
        cut, whole = (
            gpt.chat.completions.create(
                **CHAT, max_tokens=most, extra_headers=steered("tokens=9")
            ).choices[0]
            for most in (4, 40)
        )
        assert (cut.finish_reason, whole.finish_reason) == ("length", "stop")
        assert len((cut.message.content or "").split()) == 4

    def test_the_same_request_is_answered_alike_but_never_with_the_same_ids(
        self, gpt: openai.OpenAI
    ) -> None:
        asked = {**CHAT, "tools": OPENAI_TOOLS, "tool_choice": "required"}
        answers = [gpt.chat.completions.create(**asked) for _ in range(2)]
        calls = [answer.choices[0].message.tool_calls[0] for answer in answers]
        assert answers[0].usage == answers[1].usage
        assert calls[0].function == calls[1].function
        assert json.loads(calls[0].function.arguments) == {"city": "Berlin"}
        assert calls[0].id != calls[1].id
        assert all(call.id.startswith("call_") and len(call.id) == 29 for call in calls)

    def test_responses_call_functions_and_stream_to_their_completion(
        self, gpt: openai.OpenAI
    ) -> None:
        called = gpt.responses.create(
            model="stand-in", input="Hi", tools=RESPONSES_TOOLS, tool_choice="required"
        )
        assert [item.type for item in called.output] == ["function_call"]
        events = list(gpt.responses.create(model="stand-in", input="Hi", stream=True))
        text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert events[0].type == "response.created"
        assert events[-1].type == "response.completed"
        assert events[-1].response.output_text == text
        assert [e.sequence_number for e in events] == list(range(len(events)))

    def test_embeddings_come_in_the_encoding_and_size_asked_for(self, gpt: openai.OpenAI) -> None:
        packed = gpt.embeddings.create(model="stand-in", input=["a", "b"], dimensions=16)
        plain = gpt.embeddings.create(model="stand-in", input="a", encoding_format="float")
        assert [len(one.embedding) for one in packed.data] == [16, 16]
        assert all(-1 <= x <= 1 for x in packed.data[0].embedding + plain.data[0].embedding)

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(429, openai.RateLimitError), (500, openai.InternalServerError)],
    )
    def test_errors_reach_the_sdk_in_its_dialect(
        self, gpt: openai.OpenAI, status: int, kind: type[openai.APIStatusError]
    ) -> None:
        with pytest.raises(kind) as caught:
            gpt.chat.completions.create(**CHAT, extra_headers=steered(f"status={status}"))
        assert caught.value.request_id
        assert ("retry-after" in caught.value.response.headers) == (status == 429)

    async def test_the_async_client_streams(self, url: str) -> None:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
            stream = await client.chat.completions.create(**CHAT, stream=True, max_tokens=7)
            chunks = [chunk async for chunk in stream]
        assert chunks[-1].choices[0].finish_reason in ("length", "stop")


class TestAnthropic:
    @pytest.mark.parametrize("tokens", [3, 50])
    def test_a_stream_adds_up_to_the_whole_message(
        self, claude: anthropic.Anthropic, tokens: int
    ) -> None:
        with claude.messages.stream(
            **CHAT, max_tokens=20, extra_headers=steered(f"tokens={tokens}")
        ) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert final.usage.output_tokens == len(text.split()) == min(tokens, 20)
        assert final.stop_reason == ("end_turn" if tokens == 3 else "max_tokens")

    def test_a_streamed_tool_call_has_its_input_and_thinking_its_signature(
        self, claude: anthropic.Anthropic
    ) -> None:
        with claude.messages.stream(
            model="stand-in",
            messages=HELLO,
            max_tokens=3000,
            tools=ANTHROPIC_TOOLS,
            tool_choice={"type": "any"},
            thinking={"type": "enabled", "budget_tokens": 1024},
        ) as stream:
            thought, call = stream.get_final_message().content
        assert thought.type == "thinking"
        assert len(thought.signature) == 128
        assert call.type == "tool_use"
        assert call.input == {"city": "Berlin"}
        assert call.id.startswith("toolu_")

    def test_overload_counting_batches_and_models(self, claude: anthropic.Anthropic) -> None:
        with pytest.raises(anthropic.APIStatusError) as caught:
            claude.messages.create(**CHAT, max_tokens=5, extra_headers=steered("status=529"))
        assert caught.value.status_code == 529
        assert caught.value.body["error"]["type"] == "overloaded_error"  # type: ignore[index]
        assert caught.value.request_id
        assert claude.messages.count_tokens(**CHAT).input_tokens > 0
        items: Any = [{"custom_id": "1", "params": {**CHAT, "max_tokens": 5}}]
        assert claude.messages.batches.create(requests=items).request_counts.processing == 1
        assert "stand-in" in [model.id for model in claude.models.list()]

    async def test_the_async_client_streams_and_bad_keys_are_told(self, url: str) -> None:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0) as client:
            async with client.messages.stream(**CHAT, max_tokens=9) as stream:
                assert "".join([part async for part in stream.text_stream])
            with pytest.raises(anthropic.AuthenticationError):
                await client.with_options(api_key="sk-bad-1").messages.create(**CHAT, max_tokens=9)


@pytest.mark.parametrize(
    ("body", "controls"),
    [
        pytest.param(b"{", "", id="no JSON"),
        pytest.param(b"[]", "", id="no object"),
        pytest.param({**CHAT, "n": "many"}, "", id="n is a word"),
        pytest.param({**CHAT, "stream": True, "stream_options": 5}, "", id="options are a number"),
        pytest.param({**CHAT, "tools": [{"function": 5}], "n": []}, "tokens=x", id="bad control"),
    ],
)
def test_what_cannot_be_understood_is_a_400_and_never_hangs(
    url: str, body: Any, controls: str
) -> None:
    assert post(url, body, controls=controls).status_code == 400
    assert httpx.get(url + "/standin/stats").json()["inflight"] == 1  # this question


class TestControls:
    def test_usage_can_be_left_out_answers_packed_and_padded(self, url: str) -> None:
        assert "usage" not in post(url, CHAT, controls="no-usage").json()
        packed = post(url, CHAT, controls="gzip")
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.json()["choices"]
        assert len(post(url, CHAT, controls="big=300000").content) > 300_000

    def test_a_stream_can_be_reset_after_so_many_chunks(self, url: str) -> None:
        with pytest.raises(httpx.ReadError):
            post(url, {**CHAT, "stream": True}, controls="tokens=50,reset-after=3")

    def test_a_stream_that_stalls_counts_as_cancelled_when_its_reader_leaves(
        self, url: str
    ) -> None:
        before = httpx.get(url + "/standin/stats").json()["cancelled"]
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                url + "/v1/chat/completions",
                json={**CHAT, "stream": True},
                headers=steered("tokens=50,stall-after=3"),
                timeout=0.2,
            )
        ends_s = time.monotonic() + 5
        while (stats := httpx.get(url + "/standin/stats").json())["cancelled"] == before:
            assert time.monotonic() < ends_s
        assert stats["inflight"] == 1  # this question

    def test_the_last_requests_are_kept_and_no_more_than_64(self, url: str) -> None:
        with httpx.Client(base_url=url) as client:
            client.post("/standin/reset")
            for number in range(70):
                client.post("/v1/embeddings", json={"input": str(number)})
            kept = client.get("/standin/requests").json()
            stats = client.get("/standin/stats").json()
        assert [json.loads(one["body"])["input"] for one in kept] == [str(n) for n in range(6, 70)]
        assert stats["by_route"] == {"POST /v1/embeddings": 70}
        assert stats["tokens_out"] == 0

    def test_head_answers_without_a_body(self, url: str) -> None:
        answer = httpx.head(url + "/v1/models")
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["content-length"]) > 0


def test_drawn_errors_fit_the_dialect_and_a_retry_may_pass() -> None:
    with standin("--time-scale", "0", "--error-rate", "0.5", "--seed", "7") as url:
        plain = [post(url, CHAT).status_code for _ in range(40)]
        named = [
            post(url, {**CHAT, "max_tokens": 5}, path="/v1/messages").status_code for _ in range(40)
        ]
    assert set(plain) == {200, 429, 500, 503}
    assert set(named) == {200, 429, 500, 529}


def test_fast_answers_satisfy_both_sdks() -> None:
    with standin("--fast") as url:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as gpt:
            assert gpt.chat.completions.create(**CHAT).choices[0].message.content
            assert len(list(gpt.chat.completions.create(**CHAT, stream=True))) == 23
        with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as claude:
            assert claude.messages.create(**CHAT, max_tokens=50).usage.output_tokens == 20
            with claude.messages.stream(**CHAT, max_tokens=50) as stream:
                assert len("".join(stream.text_stream).split()) == 20


def test_a_fast_answer_closes_when_asked_to() -> None:
    with standin("--fast") as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
        connection.request("POST", "/v1/chat/completions", b"{}", {"connection": "close"})
        assert connection.sock is not None
        sock = connection.sock.dup()
        connection.getresponse().read()
        connection.close()
        with sock:
            assert sock.recv(1) == b""
