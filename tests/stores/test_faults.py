"""What goes wrong with stores: fail fast, fail alone, never charge twice, come back."""

from __future__ import annotations

import asyncio
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import StoreError, StoreMismatchError
from gateway.loadtests.servers.cluster import Cluster
from gateway.loadtests.servers.valkey import Server, server
from gateway.model import ChargeReply, Effect, Settlement, Subject
from gateway.stores import RedisStore, open_store
from gateway.stores.codec import join, pack
from gateway.stores.opening import DEFAULT_TIMEOUT_S, open_store_at_start

from .steps import NOW_US, TAG, charge, correction, gcra, lease, look

RECOVERY_S = 5.0  # a bound for busy machines; the pause between tries is at most half a second
STOPPED_P99_S = 0.15  # the timeout, and what a busy machine adds
PATIENT_S = 5.0


@pytest.fixture
async def store(valkey: Server) -> AsyncIterator[RedisStore]:
    opened = await open_store(
        valkey.url, secret_fingerprint="0", prefix=new_prefix(), timeout_s=PATIENT_S
    )
    yield opened
    await opened.aclose()


def new_prefix() -> str:
    return f"f{secrets.token_hex(4)}:"


async def until_it_works(call: Callable[[], Awaitable[object]]) -> float:
    """Seconds until `call` raises no StoreError."""
    started = time.monotonic()
    while True:
        try:
            await call()
            return time.monotonic() - started
        except StoreError:
            assert time.monotonic() - started < RECOVERY_S
            await asyncio.sleep(0.005)


# ── a server that is late at our start ───────────────────────────────────────────────────────


async def test_a_server_that_answers_late_once_does_not_end_a_start(tmp_path: Path) -> None:
    with server(tmp_path) as own:
        own.send_signal(signal.SIGSTOP)
        starting = asyncio.create_task(open_store_at_start(own.url, secret_fingerprint="0"))
        await asyncio.sleep(4 * DEFAULT_TIMEOUT_S)
        assert not starting.done()
        own.send_signal(signal.SIGCONT)
        store = await starting
        try:
            await store.put(Subject("acc_1"), {"c" * 32: "key_1"})
        finally:
            await store.aclose()


async def test_a_server_that_never_answers_ends_a_start(tmp_path: Path) -> None:
    with server(tmp_path) as own:
        own.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreError, match="timeout"):
                await open_store_at_start(own.url, secret_fingerprint="0")
        finally:
            own.send_signal(signal.SIGCONT)


async def test_a_server_that_is_not_there_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", pause)
    with pytest.raises(StoreError, match="unreachable"):
        await open_store_at_start(f"unix://{tmp_path / 'none'}", secret_fingerprint="0")
    assert pauses == []


# ── a server that stops or dies ──────────────────────────────────────────────────────────────


async def test_with_a_stopped_server_charges_fail_fast_and_work_again_when_it_goes_on(
    tmp_path: Path,
) -> None:
    with server(tmp_path) as own:
        store = await open_store(own.url, secret_fingerprint="0")
        try:
            await store.put(Subject("acc_1"), {"c" * 32: "key_1"})
            await until_it_works(lambda: store.charge(charge(gcra())))
            own.send_signal(signal.SIGSTOP)
            waits_s, kinds = [], set()
            for n in range(200):
                started = time.monotonic()
                call = store.charge(charge(gcra())) if n % 2 else store.resolve("c" * 32)
                with pytest.raises(StoreError) as caught:
                    await call
                waits_s.append(time.monotonic() - started)
                kinds.add(caught.value.kind)
            assert kinds <= {"timeout", "unreachable"}
            assert waits_s[0] >= DEFAULT_TIMEOUT_S / 2
            assert sorted(waits_s)[197] < 0.05
            assert max(waits_s) < STOPPED_P99_S
            own.send_signal(signal.SIGCONT)
            await until_it_works(lambda: store.charge(charge(gcra())))
        finally:
            own.send_signal(signal.SIGCONT)
            await store.aclose()


async def test_a_killed_and_restarted_server_is_found_again_under_load(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with server(tmp_path) as own:
        store = await open_store(own.url, secret_fingerprint="0", timeout_s=1.0)
        outcomes: list[str] = []
        is_over = asyncio.Event()

        async def caller(number: int) -> None:
            while not is_over.is_set():
                try:
                    await store.charge(charge(gcra(tag=f"a:{number}")))
                    outcomes.append("ok")
                except StoreError as error:
                    outcomes.append(error.kind)
                await asyncio.sleep(0.001)

        callers = [asyncio.create_task(caller(n)) for n in range(20)]
        try:
            await asyncio.sleep(0.1)
            own.stop()
            await asyncio.sleep(0.1)
            await asyncio.to_thread(own.start)
            await until_it_works(lambda: store.charge(charge(gcra())))
            before = len(outcomes)
            await asyncio.sleep(0.1)
        finally:
            is_over.set()
            await asyncio.gather(*callers)
            await store.aclose()
        assert set(outcomes) <= {"ok", "unreachable", "timeout"}
        assert "unreachable" in outcomes
        assert outcomes[before + 20 :].count("ok") > 0
        away, back = [one.getMessage() for one in caplog.records if one.name == "hydragate.store"]
        assert away.startswith("the store is away for 0 s: every limit does as its on_store_error")
        assert "answers again, after" in back


async def test_nobody_is_left_waiting_when_the_store_closes(valkey: Server) -> None:
    store = await open_store(valkey.url, secret_fingerprint="0", prefix=new_prefix())
    waiting = [asyncio.ensure_future(store.charge(charge(gcra()))) for _ in range(50)]
    await asyncio.sleep(0)
    await store.aclose()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, StoreError | ChargeReply) for outcome in outcomes)


@pytest.mark.parametrize("kind", ["valkey", "redis_cluster"])
async def test_closing_the_store_delivers_what_was_settled_last(
    request: pytest.FixtureRequest, kind: str
) -> None:
    running: Server | Cluster = request.getfixturevalue(kind)
    prefix = new_prefix()
    for expected in (1, 1):
        opened = await open_store(
            running.url, secret_fingerprint="0", prefix=prefix, timeout_s=PATIENT_S
        )
        reply = await opened.charge(charge(lease(), lease_id="one"))
        assert reply.results[0].level == expected
        freed = correction(lease(), reply.results[0], 1)
        opened.settle_soon(Settlement("one", (freed,), NOW_US))
        await opened.aclose()


async def test_a_cancelled_caller_disturbs_nobody(store: RedisStore) -> None:
    waiting = [asyncio.ensure_future(store.charge(charge(gcra()))) for _ in range(10)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
    assert not any(isinstance(outcome, BaseException) for outcome in outcomes[1::2])
    assert (await store.charge(charge(gcra(tag="a:other")))).applied


# ── scripts and broken keys ──────────────────────────────────────────────────────────────────


async def test_a_server_that_forgot_the_scripts_charges_once(
    store: RedisStore, valkey: Server
) -> None:
    with valkey.client() as client:
        client.script_flush()
    replies = await asyncio.gather(*(store.charge(charge(gcra())) for _ in range(100)))
    assert sum(reply.applied for reply in replies) == 10
    assert replies[9].results[0].level == replies[0].results[0].level + 9 * gcra().amount


@pytest.mark.parametrize("value", ["a string", {"rpm": "no number"}, {"rpm": ""}], ids=repr)
async def test_a_broken_key_fails_its_own_request_only(
    valkey: Server, value: str | dict[str, str]
) -> None:
    prefix = new_prefix()
    opened = await open_store(
        valkey.url, secret_fingerprint="0", prefix=prefix, timeout_s=PATIENT_S
    )
    broken = f"{prefix}{{a:broken}}"
    with valkey.client() as client:
        if isinstance(value, str):
            client.set(broken, value)
        else:
            client.hset(broken, mapping=dict(value))
    tags = [TAG, "a:broken", "a:acc_2"]
    try:
        outcomes = await asyncio.gather(
            *(opened.charge(charge(gcra(tag=tag), gcra(tag="o:org_1"))) for tag in tags),
            return_exceptions=True,
        )
        level = (await opened.charge(charge(look(gcra(tag="o:org_1"))))).results[0].level
    finally:
        await opened.aclose()
    assert [isinstance(outcome, StoreError) for outcome in outcomes] == [False, True, False]
    assert isinstance(outcomes[1], StoreError)
    assert outcomes[1].kind == "refused"
    assert not isinstance(outcomes[2], BaseException)
    assert level == outcomes[2].results[1].level  # the broken request charged its neighbour nothing


async def test_deleting_every_shadow_entry_changes_no_enforced_verdict(valkey: Server) -> None:
    prefix = new_prefix()
    opened = await open_store(
        valkey.url, secret_fingerprint="0", prefix=prefix, timeout_s=PATIENT_S
    )
    enforced, held = gcra(cost=4), lease(most=2)
    shadows = replace(enforced, effect=Effect.SHADOW), replace(held, effect=Effect.SHADOW)
    try:
        first = await opened.charge(charge(enforced, held, *shadows))
        with valkey.client() as client:
            names = [name for name in client.scan_iter(match=f"{prefix}*") if b"~" in name]
            assert len(names) == 2
            client.delete(*names)
        second = await opened.charge(charge(enforced, held, *shadows))
    finally:
        await opened.aclose()
    amounts = [enforced.amount, 1]
    for before, after, amount in zip(first.results, second.results[:2], amounts, strict=False):
        assert after.level == before.level + amount


async def test_a_full_server_refuses_and_charges_nothing(tmp_path: Path) -> None:
    with server(tmp_path) as own:
        store = await open_store(own.url, secret_fingerprint="0", timeout_s=PATIENT_S)
        try:
            with own.client() as client:
                client.config_set("maxmemory", 1)
                with pytest.raises(StoreError, match="OOM"):
                    await store.charge(charge(gcra(), gcra(tag="o:1")))
                client.config_set("maxmemory", 0)
            reply = await store.charge(charge(look(gcra()), look(gcra(tag="o:1"))))
            assert [result.level for result in reply.results] == [0, 0]
        finally:
            await store.aclose()


async def test_a_version_grows_even_when_the_servers_clock_was_set_back(valkey: Server) -> None:
    prefix = new_prefix()
    opened = await open_store(
        valkey.url, secret_fingerprint="0", prefix=prefix, timeout_s=PATIENT_S
    )
    future = 4_000_000_000_000_000
    try:
        with valkey.client() as client:
            stored = await opened.put(Subject("acc_1"), None)
            client.set(f"{prefix}{{a:acc_1}}:s", join(future, pack(stored)))
        assert (await opened.put(Subject("acc_1"), None)).version == future + 1
        assert (await opened.put(Subject("acc_1"), {})).version == future + 3
    finally:
        await opened.aclose()


# ── several processes ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["single", "cluster"])
def test_four_processes_never_admit_more_than_the_burst(
    request: pytest.FixtureRequest, kind: str
) -> None:
    running: Server | Cluster = request.getfixturevalue(
        "valkey" if kind == "single" else "redis_cluster"
    )
    command = [sys.executable, "-m", "tests.stores.hammer", running.url, new_prefix(), "400"]
    hammers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    try:
        passed = sum(int(hammer.communicate(timeout=60)[0]) for hammer in hammers)
    finally:
        for hammer in hammers:
            hammer.kill()
    # A Cluster takes back what another tag refused, so a charge may be refused for one that
    # was itself on its way back: never more than the burst, sometimes less.
    assert passed == 10 if kind == "single" else 1 <= passed <= 10


# ── opening ──────────────────────────────────────────────────────────────────────────────────


async def test_a_wrong_password_is_named_and_not_repeated(tmp_path: Path) -> None:
    with server(tmp_path, "--requirepass", "s3cret") as own:
        right = await open_store(
            own.url.replace("//", "//:s3cret@"), secret_fingerprint="0", timeout_s=PATIENT_S
        )
        assert (await right.charge(charge(gcra()))).applied
        await right.aclose()
        with pytest.raises(StoreError, match="WRONGPASS") as caught:
            await open_store(own.url.replace("//", "//:wr0ng@"), secret_fingerprint="0")
        assert "wr0ng" not in str(caught.value)
        with pytest.raises(StoreError, match="NOAUTH"):
            await open_store(own.url, secret_fingerprint="0")


async def test_the_log_has_the_words_with_which_a_store_refuses_once_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full one, say: the metric only knows that it was refused."""
    with server(tmp_path) as own:
        store = await open_store(own.url, secret_fingerprint="0", timeout_s=PATIENT_S)
        try:
            with own.client() as client:
                client.config_set("maxmemory", "1mb")
            for _ in range(3):
                with pytest.raises(StoreError, match="OOM"):
                    await store.charge(charge(gcra()))
        finally:
            await store.aclose()
    told = [one.getMessage() for one in caplog.records if "refuses" in one.getMessage()]
    assert len(told) == 1
    assert "refuses a charge: " in told[0]
    assert "OOM" in told[0]


async def test_a_user_without_config_and_admin_rights_is_enough(tmp_path: Path) -> None:
    rights = ("~hg:*", "+@all", "-@admin", "-config", "+info")
    with server(tmp_path, "--user", "gate", "on", ">pw", *rights) as own:
        url = own.url.replace("//", "//gate:pw@")
        store = await open_store(url, secret_fingerprint="0", timeout_s=PATIENT_S)
        try:
            await store.put(Subject("acc_1"), {"c" * 32: "key_1"})
            assert (await store.charge(charge(gcra(), lease()))).applied
        finally:
            await store.aclose()


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_an_evicting_store_is_refused_with_what_to_do(tmp_path: Path, policy: str) -> None:
    evicting = server(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", policy)
    with evicting as own, pytest.raises(StoreMismatchError, match=f"{policy}.*to noeviction"):
        await open_store(own.url, secret_fingerprint="0")


async def test_a_store_of_another_secret_is_refused_with_what_to_do(valkey: Server) -> None:
    prefix = new_prefix()
    first = await open_store(valkey.url, secret_fingerprint="one", prefix=prefix)
    await first.aclose()
    with pytest.raises(StoreMismatchError, match=r"another secret.*--secret-file"):
        await open_store(valkey.url, secret_fingerprint="two", prefix=prefix)


async def test_a_store_of_a_later_layout_is_refused(valkey: Server) -> None:
    prefix = new_prefix()
    with valkey.client() as client:
        client.hset(f"{prefix}meta", "layout", "2")
    with pytest.raises(StoreMismatchError, match="layout 2"):
        await open_store(valkey.url, secret_fingerprint="0", prefix=prefix)


async def test_no_server_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        await open_store(f"unix://{tmp_path}/nothing.sock", secret_fingerprint="0")
    assert caught.value.kind == "unreachable"


async def test_every_call_is_observed_with_its_kind_of_error(tmp_path: Path) -> None:
    seen: list[tuple[str, str | None]] = []
    with server(tmp_path) as own:
        store = await open_store(
            own.url,
            secret_fingerprint="0",
            timeout_s=PATIENT_S,
            observe=lambda call, seconds, kind: seen.append((call, kind)),
        )
        try:
            await store.charge(charge(gcra()))
            await store.resolve("c" * 32)
            own.stop()
            with pytest.raises(StoreError):
                await store.charge(charge(gcra()))
        finally:
            await store.aclose()
    assert seen == [("charge", None), ("resolve", None), ("charge", "unreachable")]
