"""What the admin API and the console work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import Problem
from ..ports import PagedDirectory
from ..workers.account_records import RecordReader
from ..workers.cluster_behaviour import ClusterBehaviour
from ..workers.cluster_desk import ClusterDesk
from .verifications import VerificationContext


class Audit(Protocol):
    """Notes what was done to `target`, by whom and why; both are empty where nobody said."""

    def __call__(
        self, action: str, target: str, *, by: str, reason: str, outcome: str = "done"
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class AdminContext:
    """What the admin API works with; built in `app.py`."""

    directory: PagedDirectory
    desk: ClusterDesk
    behaviour: ClusterBehaviour
    records: RecordReader
    token: str
    log_dir: Path
    metrics_text: Callable[[], Awaitable[bytes]]
    readiness: Callable[[], Awaitable[dict[str, Any]]]  # {"ready": bool, …}
    status: Callable[[], Awaitable[dict[str, Any]]]
    reload_policy: Callable[[], Awaitable[list[Problem]]]
    explain: Callable[[str], Awaitable[dict[str, Any] | None]]
    audit: Audit
    verifications: VerificationContext | None = None
