"""What is packed is what the scripts read, argument by argument."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest

from gateway.model import Charge, Correction, Effect, Settlement, StepKind
from gateway.stores import packing
from gateway.stores.keys import Keys
from gateway.stores.packing import Packer, Portion, field_name
from gateway.stores.scripts import CHARGE, SETTLE

from .steps import gcra, lease

KEYS = Keys("hg:")


def arguments(packed: bytes) -> list[bytes]:
    """What a server reads of a command."""
    reader = hiredis.Reader()
    reader.feed(packed)
    found = reader.gets()
    assert reader.gets() is False, "more than one command"
    assert isinstance(found, list)
    return found


def split(portion: Portion) -> tuple[list[bytes], list[bytes]]:
    """(keys, arguments) of a call."""
    command, sha, count, *rest = arguments(portion.by_sha(CHARGE))
    assert (command, sha) == (b"EVALSHA", CHARGE.sha.encode())
    return rest[: int(count)], rest[int(count) :]


def test_a_charge_as_the_script_documents_it() -> None:
    steps = (
        gcra("rpm", tag="a:acc_1"),
        lease("parallel", most=3, count=2, effect=Effect.SHADOW),
        gcra("by-model:m 1", tag="n:net", effect=Effect.LOOK_SHADOW),
    )
    charge = Charge("d1", "acc_1", 7, steps, now_us=123)
    names, args = split(Packer(KEYS, reads_mode=True).charges([charge]))
    assert names == [
        b"hg:mode",
        b"hg:{a:acc_1}:s",
        b"hg:{a:acc_1}",
        b"hg:{a:acc_1}:c~:parallel",
        b"hg:{n:net}:~",
    ]
    assert args[:6] == [b"123", b"1", b"1", b"7", b"d1", b"3"]
    for step, found in zip(steps, (args[6:12], args[12:18], args[18:24]), strict=True):
        field = b"" if step.kind is StepKind.LEASE else field_name(step.field).encode()
        expected: list[Any] = [step.kind, step.effect, field]
        assert found[:3] == [b.encode() if isinstance(b, str) else b for b in expected]
        assert [int(n) for n in found[3:]] == [step.amount, step.ceiling, step.ttl_us]
    assert len(args) == 24


def test_strangers_are_not_validated_and_several_entries_follow_each_other() -> None:
    charges = [Charge(f"d{n}", None, 0, (gcra(tag=f"n:{n}"),)) for n in range(3)]
    names, args = split(Packer(KEYS, reads_mode=False).charges(charges))
    assert names == [b"hg:{n:0}", b"hg:{n:1}", b"hg:{n:2}"]
    assert args[:3] == [b"0", b"0", b"3"]
    assert [args[3 + 9 * n : 6 + 9 * n] for n in range(3)] == [
        [b"", b"d%d" % n, b"1"] for n in range(3)
    ]


def test_a_settlement_as_the_script_documents_it() -> None:
    tokens = Correction("a:acc_1", "tpm", StepKind.GCRA, Effect.ENFORCE, -40, 900, 60)
    freed = Correction("a:acc_1", "parallel", StepKind.LEASE, Effect.ENFORCE, 2, 3, 60)
    portion = Packer(KEYS, reads_mode=True).settlements([Settlement("d1", (tokens, freed), 5)])
    names, args = split(portion)
    assert names == [b"hg:{a:acc_1}", b"hg:{a:acc_1}:c:parallel"]
    assert args == [
        *(b"5", b"2"),
        *(b"g", b"tpm", b"-40", b"900", b"60"),
        *(b"c", b"d1", b"2", b"0", b"0"),
    ]


def test_the_same_call_by_source_for_a_server_that_has_forgotten_it() -> None:
    portion = Packer(KEYS, reads_mode=True).settlements(
        [Settlement("d", (Correction("a:x", "f", StepKind.GCRA, Effect.ENFORCE, 1, 1, 1),))]
    )
    by_sha, by_source = arguments(portion.by_sha(SETTLE)), arguments(portion.by_source(SETTLE))
    assert by_source[:2] == [b"EVAL", SETTLE.source]
    assert by_source[2:] == by_sha[2:]


def test_kept_pieces_give_the_bytes_of_fresh_ones() -> None:
    packer = Packer(KEYS, reads_mode=True)
    for number in range(3):
        charge = Charge(f"d{number}", "acc_1", number, (gcra(cost=number), lease()))
        assert packer.charges([charge]) == Packer(KEYS, reads_mode=True).charges([charge])


def test_another_ceiling_of_the_same_counter_is_another_piece() -> None:
    packer = Packer(KEYS, reads_mode=True)
    for most in (2, 5):
        _, args = split(packer.charges([Charge("d", None, 0, (lease(most=most),))]))
        assert args[-2] == b"%d" % most


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_KEPT", 8)
    packer = Packer(KEYS, reads_mode=True)
    for n in range(50):
        correction = Correction(f"a:{n}", "f", StepKind.GCRA, Effect.ENFORCE, 1, 1, 1)
        packer.charges([Charge("d", f"acc_{n}", 1, (gcra(tag=f"a:{n}"),))])
        packer.settlements([Settlement("d", (correction,))])
    kept = (packer._steps, packer._subjects, packer._corrections)
    assert all(len(pieces) <= 8 for pieces in kept)
