"""The vendors' own SDKs, unmodified, through the gateway."""

from __future__ import annotations

import time
from typing import Any

import anthropic
import openai
import pytest

from gateway.loadtests.processes import GatewayProcess
from gateway.loadtests.prompts import ordinary_prompts

from .conftest import BANNED_KEY, GOOD_KEY, SLOW_KEY, TIGHT_KEY

OPENAI_TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
ANTHROPIC_TOOLS: Any = [
    {
        "name": "weather",
        "description": "Weather of a city",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
]


def openai_client(server: GatewayProcess, key: str = GOOD_KEY, retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=retries)


def anthropic_client(
    server: GatewayProcess, key: str = GOOD_KEY, retries: int = 0
) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.url, api_key=key, max_retries=retries)


def hello(text: str = "Hello") -> Any:
    """Messages; the SDKs' own types for them differ."""
    return [{"role": "user", "content": text}]


class TestOpenAI:
    def test_chat_answers_real_prompts(self, server: GatewayProcess) -> None:
        with openai_client(server) as client:
            for prompt in ordinary_prompts()[:25]:
                answer = client.chat.completions.create(
                    model="stand-in", messages=hello(prompt), max_tokens=64
                )
                assert answer.usage is not None
                assert 1 <= answer.usage.completion_tokens <= 64

    def test_a_stream_arrives_whole_and_without_the_usage_nobody_asked_for(
        self, server: GatewayProcess
    ) -> None:
        with openai_client(server) as client:
            stream = client.chat.completions.create(
                model="stand-in", messages=hello(), stream=True, max_tokens=50
            )
            chunks = list(stream)
        assert all(chunk.choices for chunk in chunks)
        assert all(chunk.usage is None for chunk in chunks)
        assert chunks[-1].choices[0].finish_reason in ("stop", "length", "tool_calls")

    def test_a_caller_that_asks_for_usage_gets_it(self, server: GatewayProcess) -> None:
        with openai_client(server) as client:
            stream = client.chat.completions.create(
                model="stand-in",
                messages=hello(),
                stream=True,
                max_tokens=50,
                stream_options={"include_usage": True},
            )
            chunks = list(stream)
        assert chunks[-1].choices == []
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.total_tokens > 0

    @pytest.mark.parametrize("is_stream", [False, True])
    def test_tools_are_called(self, server: GatewayProcess, is_stream: bool) -> None:
        asked: Any = {
            "model": "stand-in",
            "messages": hello("weather?"),
            "tools": OPENAI_TOOLS,
            "tool_choice": "required",
        }
        with openai_client(server) as client:
            if is_stream:
                stream = client.chat.completions.create(**asked, stream=True)
                names = [
                    call.function.name
                    for chunk in stream
                    for call in chunk.choices[0].delta.tool_calls or ()
                    if call.function.name
                ]
            else:
                answer = client.chat.completions.create(**asked)
                names = [call.function.name for call in answer.choices[0].message.tool_calls]
        assert names == ["weather"]

    def test_responses_embeddings_and_models(self, server: GatewayProcess) -> None:
        with openai_client(server) as client:
            said = client.responses.create(model="stand-in", input="Hello", max_output_tokens=40)
            assert said.output_text or said.output
            events = list(client.responses.create(model="stand-in", input="Hi", stream=True))
            assert events[-1].type == "response.completed"
            vectors = client.embeddings.create(model="stand-in", input=["a", "b"])
            assert len(vectors.data) == 2
            assert "stand-in" in [model.id for model in client.models.list()]
            assert client.models.retrieve("stand-in").id == "stand-in"

    async def test_async_streaming(self, server: GatewayProcess) -> None:
        async with openai.AsyncOpenAI(
            base_url=f"{server.url}/v1", api_key=GOOD_KEY, max_retries=0
        ) as client:
            stream = await client.chat.completions.create(
                model="stand-in", messages=hello(), stream=True, max_tokens=30
            )
            chunks = [chunk async for chunk in stream]
        assert len(chunks) > 2

    def test_a_bad_key_is_an_authentication_error(self, server: GatewayProcess) -> None:
        with (
            openai_client(server, "sk-nobody-knows-this") as client,
            pytest.raises(openai.AuthenticationError, match="not valid"),
        ):
            client.models.list()

    def test_a_banned_account_is_refused_with_a_reference(self, server: GatewayProcess) -> None:
        with (
            openai_client(server, BANNED_KEY) as client,
            pytest.raises(openai.PermissionDeniedError) as caught,
        ):
            client.chat.completions.create(model="stand-in", messages=hello())
        assert caught.value.code == "access_denied"
        decision_id = caught.value.response.headers["x-hydragate-decision"]
        assert decision_id in str(caught.value)

    def test_a_throttle_names_its_wait(self, server: GatewayProcess) -> None:
        with openai_client(server, TIGHT_KEY) as client:
            for _ in range(2):
                client.chat.completions.create(model="stand-in", messages=hello(), max_tokens=5)
            with pytest.raises(openai.RateLimitError) as caught:
                client.chat.completions.create(model="stand-in", messages=hello(), max_tokens=5)
            assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
            assert caught.value.code == "rate_limit_exceeded"
            assert caught.value.response.headers["x-ratelimit-limit-requests"] == "2"

    def test_the_sdks_own_retry_waits_as_told(self, server: GatewayProcess) -> None:
        """30 a minute let 30 through at once, then one every two seconds."""
        with openai_client(server, SLOW_KEY, retries=4) as client:
            for _ in range(30):
                client.chat.completions.create(model="stand-in", messages=hello(), max_tokens=2)
            started = time.monotonic()
            client.chat.completions.create(model="stand-in", messages=hello(), max_tokens=2)
            waited_s = time.monotonic() - started
        assert 0.9 <= waited_s <= 8


class TestAnthropic:
    def test_messages_and_counting(self, server: GatewayProcess) -> None:
        with anthropic_client(server) as client:
            answer = client.messages.create(model="stand-in", messages=hello(), max_tokens=50)
            assert answer.usage.output_tokens <= 50
            counted = client.messages.count_tokens(model="stand-in", messages=hello())
            assert counted.input_tokens > 0

    def test_a_stream_arrives_whole(self, server: GatewayProcess) -> None:
        with (
            anthropic_client(server) as client,
            client.messages.stream(model="stand-in", messages=hello(), max_tokens=60) as stream,
        ):
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert text
        assert final.usage.output_tokens == len(text.split())

    def test_tools_and_thinking(self, server: GatewayProcess) -> None:
        with anthropic_client(server) as client:
            answer = client.messages.create(
                model="stand-in",
                messages=hello("weather?"),
                max_tokens=2000,
                tools=ANTHROPIC_TOOLS,
                tool_choice={"type": "any"},
            )
            assert [block.type for block in answer.content] == ["tool_use"]
            thought = client.messages.create(
                model="stand-in",
                messages=hello(),
                max_tokens=2000,
                thinking={"type": "enabled", "budget_tokens": 1024},
            )
            assert thought.content[0].type == "thinking"

    async def test_async_streaming(self, server: GatewayProcess) -> None:
        async with (
            anthropic.AsyncAnthropic(
                base_url=server.url, api_key=GOOD_KEY, max_retries=0
            ) as client,
            client.messages.stream(model="stand-in", messages=hello(), max_tokens=30) as stream,
        ):
            text = "".join([part async for part in stream.text_stream])
        assert text

    def test_a_bad_key_is_an_authentication_error(self, server: GatewayProcess) -> None:
        with (
            anthropic_client(server, "sk-nobody-knows-this") as client,
            pytest.raises(anthropic.AuthenticationError),
        ):
            client.messages.create(model="stand-in", messages=hello(), max_tokens=5)

    def test_a_banned_account_is_refused(self, server: GatewayProcess) -> None:
        with (
            anthropic_client(server, BANNED_KEY) as client,
            pytest.raises(anthropic.PermissionDeniedError) as caught,
        ):
            client.messages.create(model="stand-in", messages=hello(), max_tokens=5)
        assert caught.value.response.headers["x-hydragate-decision"] in str(caught.value)
