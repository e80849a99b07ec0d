"""What is cut out of a world, and the accounts and bytes that go with it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.errors import UsageError
from gateway.loadtests.live.spool import read_spool, spool, wire_of
from gateway.loadtests.live.window import (
    Window,
    accounts_with_keys,
    campaign_of_lines,
    key_of,
)

from .small_world import BEGINS_S, SmallWorld

SEED = b"0123456789abcdef"
WHOLE = Window(BEGINS_S, 10.0, compression=20.0)


def test_a_window_holds_what_lies_between_its_ends() -> None:
    half = Window(BEGINS_S + 50, 5.0, compression=20.0)
    found = [request.ts - BEGINS_S for request, _ in half.exchanges(SmallWorld())]
    assert found == [50.0 + 5 * i for i in range(20)]
    assert half.due_s(BEGINS_S + 50) == 0.0
    assert half.due_s(BEGINS_S + 150) == 5.0


def test_an_exchange_without_a_body_is_not_sent() -> None:
    class Bodiless(SmallWorld):
        def exchanges(self):  # type: ignore[no-untyped-def]
            for request, campaign in super().exchanges():
                request.body = msgspec.Raw(b"null")
                yield request, campaign

    assert list(WHOLE.exchanges(Bodiless())) == []


def test_accounts_get_keys_and_keep_their_age() -> None:
    now_s = 2_000_000_000.0
    records = {
        record["account_id"]: record
        for record in accounts_with_keys(SmallWorld(), WHOLE, seed=SEED, now_s=now_s)
    }
    assert set(records) == {"old", "pool", "new"}
    assert records["old"]["created_at"] == now_s - 3600
    assert records["old"]["keys"] == [key_of(SEED, "old", "key_old")]
    assert all("key_ids" not in record and "ts" not in record for record in records.values())


def test_keys_follow_from_the_seed_alone() -> None:
    assert key_of(SEED, "a", "k") == key_of(SEED, "a", "k")
    others = [key_of(SEED, "a", "j"), key_of(SEED, "b", "k"), key_of(SEED[::-1], "a", "k")]
    assert len({key_of(SEED, "a", "k"), *others}) == 4


def test_the_wire_carries_the_log_and_not_its_connection() -> None:
    request, _ = next(SmallWorld().exchanges())
    head, _, body = wire_of(request, "sk-1").partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/messages HTTP/1.1"
    assert sorted(lines[1:]) == sorted(
        [
            "host: gateway",
            "x-api-key: sk-1",
            "x-forwarded-for: 203.0.113.9",
            "user-agent: it/1",
            "anthropic-version: 2023-06-01",
            f"content-length: {len(body)}",
        ]
    )
    assert body == bytes(request.body)


def test_other_dialects_carry_the_key_as_a_bearer() -> None:
    request, _ = list(SmallWorld().exchanges())[-2]
    assert b"\r\nauthorization: Bearer sk-1\r\n" in wire_of(request, "sk-1")


def test_the_spool_gives_back_every_shot_once_in_order(tmp_path: Path) -> None:
    shots = spool(SmallWorld(), WHOLE, tmp_path, processes=3, seed=SEED, most=100)
    read = [list(read_spool(file)) for file in shots.files]
    assert shots.count == 40
    assert sorted(shot.number for part in read for shot in part) == list(range(1, 41))
    for part in read:
        assert [shot.due_s for shot in part] == sorted(shot.due_s for shot in part)
    assert {shot.campaign for part in read for shot in part} == {"farm", None}


@pytest.mark.parametrize(
    ("window", "most", "says"),
    [(WHOLE, 39, "over 39 exchanges"), (Window(BEGINS_S + 1e7, 5.0), 100, "no exchange lies in")],
    ids=["too many", "none"],
)
def test_a_window_that_cannot_be_sent_is_refused(
    tmp_path: Path, window: Window, most: int, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        spool(SmallWorld(), window, tmp_path, processes=1, seed=SEED, most=most)


def test_only_lines_that_differ_from_their_account_are_labelled() -> None:
    found = campaign_of_lines(
        ["farm", None, None, "farm"], ["pool", "pool", "old", "old"], {"pool": "farm", "old": None}
    )
    assert list(found) == [{"line": 2, "campaign": None}, {"line": 4, "campaign": "farm"}]
