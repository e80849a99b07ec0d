"""Messages count once, gaps are noticed, and the newest word on an account is the one published."""

from __future__ import annotations

import msgspec
import pytest

from gateway.linking.linker import Linker
from gateway.linking.publishing import Publication
from gateway.stores.stream import Message
from gateway.workers.linker_state import MAX_SENDERS, Progress, pack_state, unpack_state

from .linking import campaign


def message(number: int, sender: str = "s1") -> bytes:
    records: list[tuple[str, int, bool, int | None, dict[str, bytes]]] = [
        ("acc_1", 1, False, None, {"payment": bytes(16)})
    ]
    return msgspec.msgpack.encode(Message(sender, number, records))


def test_a_message_that_comes_twice_counts_once() -> None:
    progress = Progress()
    assert len(progress.take("1-0", message(1))) == 1
    assert progress.take("1-1", message(1)) == []
    assert len(progress.take("1-2", message(2))) == 1
    assert (progress.pairs, progress.repeats, progress.lost) == (4, 1, 0)
    assert progress.position == "1-2"


def test_missing_numbers_are_counted_and_a_new_sender_begins_anywhere() -> None:
    progress = Progress()
    progress.take("1-0", message(7))
    progress.take("1-1", message(10))
    progress.take("1-2", message(3, "s2"))
    assert progress.lost == 2


def test_what_cannot_be_read_is_counted_and_passed() -> None:
    progress = Progress()
    assert progress.take("1-0", b"nonsense") == []
    assert (progress.position, progress.lost) == ("1-0", 1)


def test_senders_are_bounded() -> None:
    progress = Progress()
    for n in range(MAX_SENDERS + 10):
        progress.take(f"1-{n}", message(1, f"s{n}"))
    assert len(progress.senders) == MAX_SENDERS


def linked(cluster_id: str | None, state: str | None = "suspected") -> Publication:
    return Publication("acc_1", cluster_id, state, 10, 0.5)


def test_the_newest_word_on_an_account_replaces_an_older_one() -> None:
    progress = Progress()
    progress.await_publication([linked("cl_1")])
    progress.await_publication([linked("cl_2")])
    assert progress.due(10, {"cl_1", "cl_2"}) == [linked("cl_2")]
    progress.published(linked("cl_1"))  # was under way when the newer one came
    assert progress.due(10, {"cl_2"}) == [linked("cl_2")]
    progress.published(linked("cl_2"))
    assert progress.due(10, {"cl_2"}) == []


def test_whoever_waits_keeps_its_place_when_there_is_newer_word() -> None:
    progress = Progress()
    progress.await_publication([linked("cl_1"), Publication("acc_2", "cl_1", "suspected", 10, 0.5)])
    progress.await_publication([linked("cl_2")])
    assert progress.due(1, {"cl_1", "cl_2"}) == [linked("cl_2")]


@pytest.mark.parametrize(
    ("publication", "is_due"),
    [
        pytest.param(linked("cl_1"), False, id="nobody is linked anew"),
        pytest.param(linked(None, None), True, id="whoever leaves leaves"),
        pytest.param(linked("cl_1", "dismissed"), True, id="a dismissal holds"),
    ],
)
def test_while_frozen_only_relief_is_published(publication: Publication, is_due: bool) -> None:
    progress = Progress(is_frozen=True)
    progress.await_publication([publication])
    assert bool(progress.due(10, {"cl_1"})) is is_due


def test_a_cluster_that_no_snapshot_knows_is_not_published() -> None:
    progress = Progress()
    progress.await_publication([linked("cl_new")])
    assert progress.due(10, {"cl_old"}) == []


def test_a_snapshot_brings_all_of_it_back() -> None:
    linker, progress = Linker(), Progress(position="5-1", commands="4-0", is_frozen=True, pairs=9)
    for evidence in campaign():
        linker.observe(evidence)
    progress.await_publication(linker.tick(1))
    progress.take("6-0", message(3))
    again, graph = unpack_state(pack_state(progress, linker))
    assert again == progress
    assert Linker.restore(graph).clusters() == linker.clusters()


def test_another_versions_snapshot_is_refused() -> None:
    packed = pack_state(Progress(format=99), Linker())
    with pytest.raises(ValueError, match="format 99"):
        unpack_state(packed)
    with pytest.raises(ValueError, match="cannot be read"):
        unpack_state(b"nonsense")
