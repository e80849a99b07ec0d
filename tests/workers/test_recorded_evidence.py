"""What a replay hands to the linker is, value by value, what it handed over when it was recorded.

Evidence outlives the code that made it: snapshots hold it, and during an upgrade workers of two
versions feed one linker. So a value may be read faster, and never become another one. The traffic
is some of a generated world (`hydragate generate every-campaign`, every dialect and kind of
exchange), under documentation addresses, and some with an output contract or with
parameters added. To record it anew, after a change that is meant:
`python -m tests.workers.test_recorded_evidence`.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gateway.commands.replay import FixedPolicy
from gateway.core.keyed import KeyedHash
from gateway.linking.evidence import Key, all_families
from gateway.model import SECOND_US
from gateway.stores.memory import MemoryStore
from gateway.workers.feeds import FileFeed
from gateway.workers.linking_hook import LinkingHook
from gateway.workers.replay_files import ReplayPlan, ReplayRun

RECORDED = Path(__file__).parent / "recorded"
POLICY = """
version: 1
name: linked
mode: enforce
unknown_credentials: refuse
on_store_error: deny
rules:
  - name: long-answers
    why: some are refused, as what was refused is evidence too
    when: {max_output_tokens: {gte: 4096}}
    on_unknown: no_match
    then: {deny: {}}
"""


class TellingHook(LinkingHook):
    """Also notes what it tells the linker, in the order in which it does."""

    def __init__(self) -> None:
        super().__init__(KeyedHash(b"a secret that never changes here"))
        self.told: list[Any] = []

    def _tell(
        self,
        account_id: str,
        now_us: int,
        keys: list[Key],
        exempt: bool,
        created_us: int | None,
    ) -> None:
        if keys:
            values = [[key.family, key.value] for key in keys]
            self.told.append([account_id, now_us, values, exempt, created_us])
        super()._tell(account_id, now_us, keys, exempt, created_us)


def told(folder: Path) -> list[Any]:
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "out").mkdir()
    accounts = (RECORDED / "accounts.jsonl").read_bytes().splitlines()
    hook = TellingHook()
    plan = ReplayPlan(
        feed=FileFeed(RECORDED / "traffic.jsonl.zst"),
        accounts=("accounts", lambda: accounts),
        events=None,
        out=folder / "out",
        store=MemoryStore(),
        policies=FixedPolicy(folder / "policy.yaml"),
        hook=hook,
        lag_us=2 * SECOND_US,
    )
    asyncio.run(ReplayRun(plan).run(resume=False))
    return hook.told


def test_evidence_is_what_it_was(tmp_path: Path) -> None:
    expected = json.loads((RECORDED / "evidence.json").read_text())
    assert told(tmp_path) == expected


def test_every_family_that_an_exchange_can_show_is_among_it() -> None:
    recorded = json.loads((RECORDED / "evidence.json").read_text())
    shown = {family for _, _, keys, _, _ in recorded for family, _ in keys}
    read = {name for name, family in all_families().items() if not family.is_joined}
    assert read - shown <= {"verified_with"}  # a generated account has passed no verification
    assert {"talk", "returned", "asked", "issued", "refused"} <= shown


def record() -> None:
    with TemporaryDirectory() as folder:
        lines = [json.dumps(one) for one in told(Path(folder))]
    (RECORDED / "evidence.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    record()
