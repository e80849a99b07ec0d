"""What listens in on a replay: the place of whatever links accounts.

Law: a hook learns what a live gateway would have learnt, when it would have learnt it. Every
request's evidence counts at its instant, also when it is refused; a response's at
`ts + latency_ms`, and only when the request was served. What it concludes reaches the store on a
tick of event time, through the same port as live. Without a hook nothing of this costs anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ..adapters.body import BodyFacts
from ..model import Decision, RequestFacts, record
from ..ports import Directory
from .traffic import LoggedResponse, TrafficLine


@record
class ReplayedRequest:
    """A request that has been decided. `number` is its line; `body` what was read of its body. What
    is raw in it and in `line` must be read at once or copied: neither is kept."""

    number: int
    now_us: int
    line: TrafficLine
    body: BodyFacts
    facts: RequestFacts
    decision: Decision


class ReplayHook(Protocol):
    """Called in order of event time; `number` is the line, equal for a request and its response."""

    def on_request(self, asked: ReplayedRequest) -> None:
        """A request has been decided."""
        ...

    def on_response(
        self, number: int, now_us: int, facts: RequestFacts, response: LoggedResponse
    ) -> None:
        """The answer to a served request is complete; `response.body` is raw JSON or `null`."""
        ...

    async def on_tick(self, now_us: int, directory: Directory) -> None:
        """The instant to publish: put every subject that changed. Instants are multiples of
        `--linker-lag-s`; those before which nothing happened are left out."""
        ...

    def clusters(self) -> Iterable[Mapping[str, Any]]:
        """The final state, as CONTRACTS §4 has a line of `clusters.jsonl`."""
        ...

    def snapshot(self) -> bytes:
        """Everything, for a checkpoint."""
        ...

    def restore(self, state: bytes) -> None: ...
