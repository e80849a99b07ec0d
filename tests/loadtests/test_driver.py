"""The load driver against a small server whose delays and faults are known."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.loadtests.driver import (
    Numbered,
    Outcome,
    Shot,
    drive,
    request_bytes,
    run_many,
    saturate,
)
from gateway.loadtests.load_result import LEAST_S, Latencies, LoadResult
from gateway.loadtests.processes import standin

WIRE = request_bytes("/v1/x", b"{}", key="k")
OK = b"HTTP/1.1 200 OK\r\nx-seen: yes\r\ncontent-length: 2\r\n\r\nok"
SECONDS = st.floats(min_value=LEAST_S, max_value=1e5)
Answer = Callable[[asyncio.StreamWriter, bytes], Coroutine[Any, Any, None]]


@contextlib.asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """A server that hands every request to `answer`."""

    clients: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                await answer(writer, await reader.readexactly(length))

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        clients.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        clients.discard(task)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.sleep(0.01)  # what was accepted last begins to be served
        for task in clients:
            task.cancel()
        await asyncio.sleep(0.01)


def after(delay_s: float, said: bytes = OK) -> Answer:
    async def answer(writer: asyncio.StreamWriter, body: bytes) -> None:
        await asyncio.sleep(delay_s)
        writer.write(said)

    return answer


async def never(writer: asyncio.StreamWriter, body: bytes) -> None:
    await asyncio.sleep(60)


async def hang_up(writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.close()


class TestOpenLoop:
    async def test_latency_counts_from_the_due_time_queueing_included(self) -> None:
        latencies: list[float] = []
        async with serving(after(0.05)) as url:
            result = await drive(
                url,
                [Shot(0.0, WIRE) for _ in range(4)],
                connections=1,
                on_result=lambda _, outcome: latencies.append(outcome.latency_s),
            )
        assert result.statuses == {200: 4}
        for turn, latency_s in enumerate(latencies, 1):
            assert latency_s >= 0.049 * turn
        assert result.late.quantile(1.0) >= 0.049 * 3

    async def test_no_answer_is_faster_than_the_server_even_if_a_timer_fires_early(self) -> None:
        async with serving(after(0.01)) as url:
            result = await drive(url, [Shot(i * 0.0131, WIRE) for i in range(30)], connections=8)
        assert result.latencies.quantile(0.0001) >= 0.009

    async def test_answers_are_read_while_the_load_is_behind_its_schedule(self) -> None:
        firsts: list[int] = []
        fired = 0

        def shots() -> Any:
            nonlocal fired
            for number in range(5_000):
                fired = number
                yield Shot(0.0, WIRE)

        async with serving(after(0)) as url:
            result = await drive(
                url, shots(), connections=16, on_result=lambda *_: firsts.append(fired)
            )
        assert result.statuses == {200: 5_000}
        assert firsts[0] < 4_999

    async def test_shots_after_the_deadline_are_not_sent(self) -> None:
        async with serving(after(0)) as url:
            result = await drive(url, [Shot(0.0, WIRE), Shot(0.2, WIRE)], deadline_s=0.1)
        assert (result.sent, result.statuses) == (1, {200: 1})

    async def test_gaps_and_first_byte_of_a_stream_are_told_apart(self) -> None:
        async def stream(writer: asyncio.StreamWriter, body: bytes) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(3):
                await asyncio.sleep(0.03)
                writer.write(b"2\r\nok\r\n")
            writer.write(b"0\r\n\r\n")

        outcomes: list[Outcome] = []
        async with serving(stream) as url:
            result = await drive(
                url,
                [Shot(0, WIRE)],
                keeps_body=True,
                on_result=lambda _, outcome: outcomes.append(outcome),
            )
        (outcome,) = outcomes
        assert outcome.body == b"okokok"
        assert outcome.first_byte_s < 0.03 <= outcome.latency_s
        assert result.gaps.quantile(0.5) >= 0.025

    async def test_an_interim_answer_is_not_the_answer(self) -> None:
        async with serving(after(0, b"HTTP/1.1 100 Continue\r\n\r\n" + OK)) as url:
            result = await drive(url, [Shot(0, WIRE), Shot(0.02, WIRE)], connections=1)
        assert result.statuses == {200: 2}


BAD = b"HTTP/1.1 what is this\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(hang_up, "closed", id="server hangs up"),
        pytest.param(never, "timeout", id="server never answers"),
        pytest.param(after(0, BAD), "bad_http", id="no HTTP"),
    ],
)
async def test_every_shot_that_was_due_ends_in_the_result(answer: Answer, error: str) -> None:
    """Also those that never got the one connection."""
    seen: list[str | None] = []
    started_s = time.monotonic()
    async with serving(answer) as url:
        result = await drive(
            url,
            [Shot(0.0, WIRE) for _ in range(5)],
            connections=1,
            timeout_s=0.3,
            on_result=lambda _, outcome: seen.append(outcome.error),
        )
    assert result.errors == {error: 5}
    assert seen == [error] * 5
    assert time.monotonic() - started_s < 3


async def test_a_refused_connection_is_counted_and_keeps_no_place() -> None:
    async with serving(after(0)) as url:
        pass
    result = await drive(url, [Shot(0.0, WIRE) for _ in range(20)], connections=2, timeout_s=2)
    assert result.errors == {"connect_failed": 20}
    assert result.wall_s < 2


async def test_a_server_that_closes_after_each_answer_serves_all() -> None:
    closing = after(0, OK.replace(b"x-seen: yes", b"connection: close"))
    async with serving(closing) as url:
        driven = await drive(url, [Shot(0.0, WIRE) for _ in range(20)], connections=3)
        saturated = await saturate(url, lambda _: WIRE, connections=2, duration_s=0.3)
    assert driven.statuses == {200: 20}
    assert saturated.statuses[200] > 10
    assert not saturated.errors


class TestClosedLoop:
    async def test_each_connection_has_one_request_out(self) -> None:
        async with serving(after(0.02)) as url:
            result = await saturate(url, lambda _: WIRE, connections=4, duration_s=0.5)
        assert 20 <= result.statuses[200] <= 4 * 0.5 / 0.02 + 4
        assert not result.errors

    async def test_a_server_that_hangs_ends_in_timeouts(self) -> None:
        async with serving(never) as url:
            result = await saturate(
                url, lambda _: WIRE, connections=3, duration_s=0.1, timeout_s=0.1
            )
        assert result.errors == {"timeout": 3}

    async def test_bodies_are_distinct_and_of_one_length(self) -> None:
        bodies: list[bytes] = []

        async def keep(writer: asyncio.StreamWriter, body: bytes) -> None:
            bodies.append(body)
            writer.write(OK)

        numbered = Numbered(request_bytes("/", b'{"id":"@NUMBER@@@"}', key="k"))
        async with serving(keep) as url:
            await saturate(url, numbered, connections=2, duration_s=0.1)
        assert len(set(bodies)) == len(bodies) > 2
        assert bodies[0] == b'{"id":"0000000000"}'


def test_a_mark_that_is_missing_is_an_error() -> None:
    with pytest.raises(ValueError, match="exactly once"):
        Numbered(WIRE)


class TestLatencies:
    @given(st.lists(SECONDS, min_size=1, max_size=200), st.floats(min_value=0.001, max_value=1))
    def test_a_quantile_is_at_most_one_percent_too_high(
        self, seconds: list[float], share: float
    ) -> None:
        found = Latencies()
        for one in seconds:
            found.add(one)
        true = sorted(seconds)[math.ceil(share * len(seconds)) - 1]
        assert true * (1 - 1e-9) <= found.quantile(share) <= true * 1.01

    @given(st.lists(SECONDS, max_size=50), st.lists(SECONDS, max_size=50))
    def test_merging_equals_adding_all_to_one(self, left: list[float], right: list[float]) -> None:
        parts, whole = (Latencies(), Latencies()), Latencies()
        for part, values in zip(parts, (left, right), strict=True):
            for value in values:
                part.add(value)
                whole.add(value)
        parts[0].merge(parts[1])
        assert parts[0].counts == whole.counts

    def test_nothing_measured_has_no_quantile(self) -> None:
        assert math.isnan(Latencies().quantile(0.5))


def saturate_a_little(url: str, index: int) -> LoadResult:
    return asyncio.run(saturate(url, lambda _: WIRE, connections=2, duration_s=0.2))


def fail(index: int) -> LoadResult:
    raise ValueError(f"job {index}")


def test_results_of_several_processes_are_merged() -> None:
    with standin("--fast") as url:
        result = run_many(partial(saturate_a_little, url), processes=2, timeout_s=60)
    assert result.statuses[200] == result.sent == len(result.latencies) > 4
    assert result.as_json()["errors"] == {}


def test_a_job_that_fails_is_raised() -> None:
    with pytest.raises(ValueError, match="job 0"):
        run_many(fail, processes=1, timeout_s=60)
