"""Listing names page by page, with a cursor that a client may keep: SCAN, node after node.

Law: a name that is there from the first page to the last comes at least once. It may come twice
while the store grows, and in a Cluster a slot that moves meanwhile may be missed.
"""

from __future__ import annotations

import re
from typing import Any

from redis.asyncio.cluster import RedisCluster

from ..errors import CursorError

MAX_STEPS = 100  # of one page, so that a store full of other things costs many short calls
MIN_COUNT, MAX_COUNT = 16, 1000
_CURSOR = re.compile(r"(\d{1,20})(?:@([\w.:\[\]-]{1,300}))?")


async def scan_page(
    client: Any, pattern: str, cursor: str | None, *, enough: int
) -> tuple[list[bytes], str | None]:
    """Names, and the cursor of the next page; None after the last one.

    A page ends with the step that reaches `enough`, so it may hold some more, or fewer, even none.
    Raises CursorError for a cursor that is not ours, or whose node is gone.
    """
    position, node = _parse(cursor)
    nodes = _nodes(client)
    node = node or nodes[0]
    if node not in nodes:
        raise CursorError("cursor: the store's nodes have changed; start again without it")
    names: dict[bytes, None] = {}
    for _ in range(MAX_STEPS):
        position, found = await _step(client, node, position, pattern, enough)
        names.update(dict.fromkeys(found))
        if not position:
            later = [name for name in nodes if name > node]
            if not later:
                return list(names), None
            node = later[0]
        if len(names) >= enough:
            break
    return list(names), f"{position}@{node}" if node else str(position)


async def _step(
    client: Any, node: str, position: int, pattern: str, enough: int
) -> tuple[int, list[bytes]]:
    count = min(max(enough, MIN_COUNT), MAX_COUNT)
    if not node:
        following, found = await client.scan(position, match=pattern, count=count)
        return int(following), found
    at = client.get_node(node_name=node)
    cursors, found = await client.scan(position, match=pattern, count=count, target_nodes=at)
    return int(cursors[node]), found


def _nodes(client: Any) -> list[str]:
    """Names of a Cluster's primaries in a fixed order; of anything else one, the empty name."""
    if not isinstance(client, RedisCluster):
        return [""]
    return sorted(node.name for node in client.get_primaries())


def _parse(cursor: str | None) -> tuple[int, str]:
    if cursor is None:
        return 0, ""
    found = _CURSOR.fullmatch(cursor)
    if found is None or int(found[1]) >= 2**64:
        raise CursorError("cursor: it comes from the page before, as `next`")
    return int(found[1]), found[2] or ""
