"""A linker's state as bytes and back: msgpack, by names and keys, never by numbers.

Numbers of accounts and values are given anew on restoring, in the same order, so that what follows
is the same.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .clusters import Cluster
from .evidence import Key
from .relay import Relay
from .state import State
from .turn_rings import TurnRings

VERSION = 2
READABLE = (1, VERSION)  # 1 knew no kin


def pack_state(state: State) -> bytes:
    names = {number: account.account_id for number, account in state.graph.accounts.items()}
    keys = state.graph.keys()
    return msgspec.msgpack.encode(
        {
            "version": VERSION,
            "accounts": list(state.graph.records(keys)),
            "was": [(*keys[n], v.was) for n, v in state.graph.values.items() if v.was],
            "clusters": [_packed(c, names, keys) for c in state.clusters.by_id.values()],
            "relay": state.relay.pack(),
            "turns": state.turns.pack(keys),
            "founded": state.clusters.founded,
            "pinned": [(names[n], to) for n, to in state.clusters.pinned.items() if n in names],
            "examined": [(keys[n], size) for n, size in state.examined.items() if n in keys],
            "waiting": [(keys[n], at_us) for n, at_us in state.waiting.items() if n in keys],
            "grown": [keys[n] for n in state.grown if n in keys],
            "fresh": [names[n] for n in state.fresh if n in names],
            "published": [(names[n], p) for n, p in state.published.items() if n in names],
            "said": state.said,
            "decisions": state.decisions,
            "is_frozen": state.is_frozen,
            "next_sweep_us": state.next_sweep_us,
        }
    )


def unpack_state(packed: bytes) -> State:
    """Raises ValueError for what is no snapshot of this version."""
    try:
        kept = msgspec.msgpack.decode(packed)
        if kept["version"] not in READABLE:
            raise ValueError(f"a snapshot of version {kept['version']}; this one knows {VERSION}")
        return _unpacked(kept)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise ValueError(f"no snapshot of a linker: {error}") from None


def _packed(
    cluster: Cluster, names: dict[int, str], keys: dict[int, tuple[str, str]]
) -> dict[str, Any]:
    return {
        "id": cluster.cluster_id,
        "first_us": cluster.first_us,
        "state": cluster.state,
        "score": cluster.score,
        "members": [(names[n], at) for n, at in cluster.members.items() if n in names],
        "families": cluster.families,
        "marks": sorted(keys[n] for n in cluster.marks if n in keys),
        "own": sorted(keys[n] for n in cluster.own if n in keys),
        "kin": sorted(keys[n] for n in cluster.kin if n in keys),
        "copied": (cluster.copied_us, cluster.copied),
        "why": cluster.why,
        "suspected_us": cluster.suspected_us,
        "decided_by": cluster.decided_by,
    }


def _unpacked(kept: dict[str, Any]) -> State:
    state = State()
    graph, clusters = state.graph, state.clusters
    if "relay" in kept:  # absent where no trace was known yet
        state.relay = Relay.unpack(kept["relay"])
    for account_id, first_us, last_us, created_us, is_exempt, keys in kept["accounts"]:
        number = graph.account(account_id, first_us)
        graph.accounts[number].created_us = created_us
        if is_exempt:
            graph.exempt.add(number)
        for pair in keys:
            graph.show(number, Key(*pair), last_us)
    for family, value, was in kept.get("was", []):
        for number in _values(state, [[family, value]]):
            graph.know_as(number, was)
    if "turns" in kept:
        state.turns = TurnRings.unpack(kept["turns"], graph)
    for record in kept["clusters"]:
        cluster = Cluster(record["id"], record["first_us"], record["state"], record["score"])
        clusters.by_id[cluster.cluster_id] = cluster
        for name, at_us in record["members"]:
            clusters.join(cluster, graph.account(name, at_us), at_us)
        cluster.families, cluster.why = record["families"], record["why"]
        cluster.marks = _values(state, record["marks"])
        cluster.own = _values(state, record["own"])
        cluster.kin = _values(state, record.get("kin", []))
        clusters.marks_changed()
        cluster.copied_us, cluster.copied = record.get("copied", (0, 0))
        cluster.suspected_us, cluster.decided_by = record["suspected_us"], record["decided_by"]
    clusters.founded, clusters.moved = kept["founded"], set()
    clusters.pinned = {graph.account(name, 0): to for name, to in kept["pinned"]}
    state.examined = {n: size for pair, size in kept["examined"] for n in _values(state, [pair])}
    state.waiting = {
        n: at_us for pair, at_us in kept.get("waiting", []) for n in _values(state, [pair])
    }
    state.grown = dict.fromkeys(n for pair in kept["grown"] for n in _values(state, [pair]))
    state.fresh = dict.fromkeys(graph.account(name, 0) for name in kept["fresh"])
    state.published = {graph.account(name, 0): tuple(p) for name, p in kept["published"]}
    state.said = {cluster_id: tuple(said) for cluster_id, said in kept["said"].items()}
    state.decisions, state.is_frozen = kept["decisions"], kept["is_frozen"]
    state.next_sweep_us = kept["next_sweep_us"]
    return state


def _values(state: State, pairs: list[list[str]]) -> set[int]:
    found = (state.graph.value(Key(*pair)) for pair in pairs)
    return {number for number in found if number is not None}
