"""A scenario or a log replayed under a policy, with somebody who listens."""

from __future__ import annotations

from pathlib import Path

from ..app import open_replay_store
from ..commands.replay import FixedPolicy
from ..commands.replay_inputs import Asked
from ..workers.replay_files import ReplayPlan, ReplayRun
from ..workers.replay_hook import ReplayHook


async def listen(
    asked: Asked, policy: Path, out: Path, hook: ReplayHook, *, labels_dir: Path | None = None
) -> None:
    """Replay `asked` into the folder `out`; labels, where wanted, into `labels_dir`."""
    with asked.open(labels_dir=labels_dir) as inputs:
        async with open_replay_store("memory") as store:
            plan = ReplayPlan(
                feed=inputs.feed,
                accounts=inputs.accounts,
                events=inputs.events,
                identity=inputs.identity,
                out=out,
                policies=FixedPolicy(policy),
                store=store,
                hook=hook,
            )
            await ReplayRun(plan).run()
