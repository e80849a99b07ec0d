"""What a window counts, and what it forgets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import window as at
from gateway.core.behaviour import FULL_DISTINCT, FULL_NARROW, Behaviour, evenness, read_window
from gateway.core.judge import judge
from gateway.core.sighting import (
    HEAD,
    NARROW_MASK,
    TAIL,
    bit_of,
    country_number,
    country_of,
    model_of,
    parameters_bit,
    sighting_of,
    task_of,
)
from gateway.model import (
    TASKS,
    Assessment,
    ChargeReply,
    Decision,
    TaskReading,
    Usage,
    Verdict,
)

from .builders import FACTS, IDENTITY, NOW_US, policy

NOW_S = NOW_US // 1_000_000 // at.WEEK_S * at.WEEK_S + 3 * at.DAY_S  # midnight, within a week
HOUR, DAY, WEEK = range(3)
SERVED = judge(policy(), FACTS, IDENTITY, Assessment((), (), ()), ChargeReply(NOW_US, applied=True))


def sighting(
    at_s: int,
    *,
    requests: int = 1,
    tokens: tuple[int, int] = (0, 0),
    flags: int = 0,
    network: int = at.NO_BIT,
    workspace: int = at.NO_BIT,
    model: tuple[int, int] = (at.NO_BIT, 0),
    task: int = at.NO_BIT,
) -> bytes:
    bits = (at.NO_BIT, network, at.NO_BIT, at.NO_BIT, workspace, model[0])
    return at.SIGHTING.pack(at_s, requests, *tokens, flags, *bits, task, model[1], 0)


def after(*sightings: bytes, packed: bytes | None = None) -> bytes:
    for one in sightings:
        packed = at.see(packed, one, int.from_bytes(one[:4], "little"))
    assert packed is not None
    return packed


def read(packed: bytes, now_s: int) -> Behaviour:
    found = read_window(packed, now_s)
    assert found is not None
    return found


def test_volume_slides_out_of_an_hour_a_day_and_a_week() -> None:
    packed = after(*[sighting(NOW_S, tokens=(10, 5))] * 40)
    now = read(packed, NOW_S)
    assert [now.requests(span) for span in (HOUR, DAY, WEEK)] == [40, 40, 40]
    assert (now.input_tokens(HOUR), now.output_tokens(DAY)) == (400, 200)
    half_out = read(packed, NOW_S + 5400)
    assert (half_out.requests(HOUR), half_out.requests(DAY)) == (20, 40)
    assert read(packed, NOW_S + 23 * 3600).requests(DAY) == 40
    assert read(packed, NOW_S + 24 * 3600).requests(DAY) == 0
    assert read(packed, NOW_S + 2 * at.DAY_S).requests(WEEK) == 40
    assert read_window(packed, NOW_S + at.KEPT_S) is None


def test_a_busy_day_is_estimated_where_the_hours_are_full() -> None:
    packed = after(*[sighting(NOW_S + 60 * n, requests=100) for n in range(600)])
    assert max(read(packed, NOW_S + 36_000).hours) == at.U8
    assert read(packed, NOW_S + 36_000).requests(DAY) == 60_000


def test_a_refused_exchange_counts_as_nothing_but_refused() -> None:
    served = after(sighting(NOW_S, tokens=(10, 5)))
    refused = after(sighting(NOW_S + 10, flags=at.IS_REFUSED, network=3), packed=served)
    behaviour = read(refused, NOW_S + 10)
    assert behaviour.requests(DAY) == 1
    assert behaviour.distinct(at.NETWORKS) == 0
    assert behaviour.share(at.REFUSED) == 0.5


def test_who_comes_back_within_seconds_of_a_refusal_has_retried() -> None:
    refused = sighting(NOW_S, flags=at.IS_REFUSED)
    soon = after(refused, sighting(NOW_S + at.RETRY_WITHIN_S))
    late = after(refused, sighting(NOW_S + at.RETRY_WITHIN_S + 1))
    assert read(soon, NOW_S + 9).share(at.RETRIED) == 0.5
    assert read(late, NOW_S + 9).share(at.RETRIED) == 0.0


def test_networks_are_counted_for_at_most_a_day() -> None:
    packed = after(*[sighting(NOW_S, network=n) for n in range(10)])
    assert read(packed, NOW_S).distinct(at.NETWORKS) == 12  # ten bits of 32, some twice
    assert read(packed, NOW_S + at.PERIOD_S).distinct(at.NETWORKS) == 12
    assert read(packed, NOW_S + 2 * at.PERIOD_S).distinct(at.NETWORKS) == 0
    full = after(*[sighting(NOW_S, network=n) for n in range(at.SKETCH_BITS)])
    assert read(full, NOW_S).distinct(at.NETWORKS) == FULL_DISTINCT


def test_workspaces_are_told_apart_in_sixteen_bits() -> None:
    packed = after(*[sighting(NOW_S, workspace=n) for n in (1, 2, 2, 15, 16, 31, at.NO_BIT)])
    assert read(packed, NOW_S).distinct(at.WORKSPACES) == 3
    full = after(*[sighting(NOW_S, workspace=n) for n in range(at.NARROW_BITS)])
    assert read(full, NOW_S).distinct(at.WORKSPACES) == FULL_NARROW


def test_a_second_model_is_a_switch_and_the_first_is_none() -> None:
    first = after(sighting(NOW_S, model=(1, 11)))
    assert read(first, NOW_S).model_switch_s() is None
    second = after(sighting(NOW_S + 50, model=(2, 22)), packed=first)
    back = after(sighting(NOW_S + 60, model=(1, 11)), packed=second)
    assert read(back, NOW_S + 70).model_switch_s() == 20
    assert read(back, NOW_S + 70).newest_model == 22


def test_what_is_usual_is_learnt_of_whole_days() -> None:
    packed = after(*[sighting(NOW_S + 60 * n) for n in range(48)])
    assert read(packed, NOW_S + 3000).usual_requests() is None
    assert read(packed, NOW_S + 3000).volume_change() is None
    for day in range(1, 6):
        packed = after(sighting(NOW_S + day * at.DAY_S, requests=48), packed=packed)
    tenfold = after(sighting(NOW_S + 6 * at.DAY_S, requests=480), packed=packed)
    assert read(tenfold, NOW_S + 6 * at.DAY_S).usual_requests() == 48.0


def test_pauses_fall_into_powers_of_four() -> None:
    assert [at.gap_class(s) for s in (0, 1, 3, 4, 255, 256, 4095, 4096, 10**6)] == [
        *(0, 1, 1, 2, 4, 5, 6, 7, 7)
    ]
    packed = after(*[sighting(NOW_S + 60 * n) for n in range(1000)])
    behaviour = read(packed, NOW_S + 60_000)
    assert behaviour.usual_gap_s() == 64
    assert behaviour.gap_evenness() == 0.0
    assert sum(behaviour.gaps) <= at.U8


def test_a_flat_day_is_even_and_a_single_hour_is_not() -> None:
    assert evenness([5] * 24) == pytest.approx(1.0)
    assert evenness([0] * 23 + [9]) == 0.0
    assert evenness([0] * 24) == 0.0


def test_what_arrives_late_or_from_the_future_counts_at_the_instants_that_are_reached() -> None:
    packed = after(sighting(NOW_S))
    late = at.see(packed, sighting(NOW_S - 500), NOW_S + 5)
    early = at.see(packed, sighting(NOW_S + 10**6), NOW_S + 5)
    assert read(late, NOW_S + 5).requests(HOUR) == 2
    assert int.from_bytes(early[:4], "little") == NOW_S + 5


times = st.integers(0, 30 * at.DAY_S)


@given(st.lists(st.tuples(times, st.integers(1, 10**6)), max_size=30), times)
def test_no_history_makes_a_window_grow_or_a_reading_fail(
    history: list[tuple[int, int]], later_s: int
) -> None:
    packed = None
    for at_s, requests in history:
        one = sighting(NOW_S + at_s, requests=requests, tokens=(requests, requests), task=at_s % 9)
        packed = at.see(packed, one, NOW_S + at_s)
        assert len(packed) == at.WINDOW_BYTES
        behaviour = read(packed, NOW_S + at_s + later_s % at.KEPT_S)
        assert 0 <= behaviour.active_hours <= 24
        assert 0 <= behaviour.day_evenness() <= 1
        assert behaviour.requests(HOUR) <= behaviour.requests(WEEK) + requests
        assert behaviour.idle_s >= 0


def test_a_task_counts_where_its_score_reaches_one_half() -> None:
    assert task_of((0.1, 0.5, 0.3)) == 1
    assert task_of((0.1, 0.49)) == at.NO_BIT
    assert len(TASKS) == at.TASK_CLASSES


def test_head_and_tail_are_a_sighting() -> None:
    assert HEAD.format + TAIL.format[1:] == "<4I3B5B2H"
    assert HEAD.size + TAIL.size == at.SIGHTING.size


@given(
    st.sampled_from([None, "00" * 16, "1f" * 16, "\ud800"]),
    st.sampled_from([None, "eyeball", "hosting"]),
    st.sampled_from([None, 0.0, 0.7]),
    st.sampled_from([None, 1, 900]),
    st.sampled_from([None, "agent", "ágent"]),
    st.sampled_from([None, "user-1", "user-2"]),
    st.sampled_from([None, "DE", "Germany"]),
    st.sampled_from([None, "m-1", "m-2"]),
    st.sampled_from([None, True, False]),
)
def test_each_bit_of_a_sighting_is_the_bit_of_its_fact(  # whatever was remembered of others
    network: str | None,
    network_class: str | None,
    temperature: float | None,
    most: int | None,
    agent: str | None,
    user: str | None,
    country: str | None,
    model: str | None,
    stream: bool | None,
) -> None:
    facts = replace(
        FACTS,
        client_network=network,
        network_class=network_class,
        temperature=temperature,
        max_output_tokens=most,
        user_agent=agent,
        end_user=user,
        country=country,
        model=model,
        stream=stream,
    )
    packed = sighting_of("acc_1", facts, SERVED, Usage(10, 0, 20), 200).packed
    flags = (at.IS_HOSTING if network_class == "hosting" else 0) | (at.IS_STREAMED if stream else 0)
    model_bit, model_number = (at.NO_BIT, 0) if model is None else model_of(model)
    assert at.SIGHTING.unpack(packed)[4:] == (
        flags,
        parameters_bit(temperature, most, stream),
        bit_of(network),
        bit_of(user),
        at.NO_BIT if agent is None else bit_of(agent) & NARROW_MASK,
        at.NO_BIT,
        model_bit,
        at.NO_BIT,
        model_number,
        0 if country is None else country_number(country),
    )


def test_a_sighting_holds_the_exchange_and_no_name() -> None:
    facts = replace(
        FACTS,
        client_network="1f" * 16,
        stream=True,
        network_class="hosting",
        user_agent="agent",
        country="DE",
        task=TaskReading("m", "", (0.0,) * len(TASKS), 0xBEEF),
    )
    packed = sighting_of("acc_1", facts, SERVED, Usage(10, 0, 20), 200).packed
    numbers = at.SIGHTING.unpack(packed)
    assert numbers[:5] == (NOW_US // 1_000_000, 1, 10, 20, at.IS_HOSTING | at.IS_STREAMED)
    parameters, network, user, client, workspace, model = numbers[5:11]
    assert max(network, model) < at.SKETCH_BITS
    assert max(parameters, client) < at.NARROW_BITS
    assert workspace == 0xBEEF % at.NARROW_BITS
    assert user == at.NO_BIT  # none was named
    assert country_of(numbers[-1]) == "DE"
    refused: Decision = replace(SERVED, verdict=Verdict.DENY)
    assert at.SIGHTING.unpack(sighting_of("a", facts, refused, None, None).packed)[4] & 1
    assert country_number("Germany") == 0


@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 31), st.integers(0, 7_200)), max_size=12),
    st.integers(-10, 10_000),
)
def test_a_glance_at_a_window_says_what_opening_it_says(
    seen: list[tuple[int, int, int]], later_s: int
) -> None:
    packed, at_s = after(sighting(NOW_S)), NOW_S
    for flags, bit, gap_s in seen:
        at_s += gap_s
        exchange = sighting(at_s, flags=flags, network=bit, model=(bit, bit), task=bit % 9)
        packed = after(exchange[:-2] + bytes([bit, 68]), packed=packed)
    glanced, opened = read(packed, at_s + later_s), at.opened(packed, at_s + later_s)
    assert opened is not None
    whole = Behaviour(opened, at_s + later_s)
    for kind in range(at.SEEN, at.RETRIED + 1):
        assert glanced.share(kind) == whole.share(kind)
    assert (glanced.last_country, glanced.last_country_s()) == (
        whole.last_country,
        whole.last_country_s(),
    )
    assert (glanced.now_s, glanced.idle_s) == (whole.now_s, whole.idle_s)
    assert [glanced.requests(span) for span in (HOUR, DAY, WEEK)] == [
        whole.requests(span) for span in (HOUR, DAY, WEEK)
    ]
    assert list(glanced.tasks) == list(whole.tasks)
    assert list(glanced.gaps) == list(whole.gaps)
    assert glanced.newest_model == whole.newest_model
    assert not hasattr(glanced, "no_such_number")
