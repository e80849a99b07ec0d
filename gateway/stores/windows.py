"""The windows of accounts as this process last heard of them: each settlement's reply tells."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

MAX_WINDOWS = 65_536  # about 400 bytes each


class WindowCache:
    """Account → packed window, bounded, the one heard of longest ago out first."""

    __slots__ = ("_kept", "_size", "get")

    def __init__(self, size: int = MAX_WINDOWS) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = size
        self.get: Callable[[str], bytes | None] = self._kept.get

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, account_id: str, packed: bytes) -> None:
        kept = self._kept
        kept[account_id] = packed
        kept.move_to_end(account_id)
        if len(kept) > self._size:
            kept.popitem(last=False)

    def drop(self, account_id: str) -> None:
        self._kept.pop(account_id, None)
