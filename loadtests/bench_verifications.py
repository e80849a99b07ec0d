"""What verifications under way take in the store: so many accounts, each with a page opened, a code
sent, a visit to a provider begun, and all brakes charged.

Run: python -m hydragate.loadtests.bench_verifications [--pending 10000]. Starts an embedded Valkey
and asks it for its `used_memory`: empty, with the bare accounts, and with everything under way.
Each account asks from a network of its own and for a mailbox of its own, which costs most.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

from ..adapters.verify.port import Offer
from ..app import SystemClock
from ..core.keyed import KeyedHash
from ..errors import StoreError
from ..friction.mail_address import parse_address
from ..model import Level, Policy, Subject
from ..stores import RedisStore, open_store
from ..stores.embedded import EmbeddedStore
from ..workers.verification_desk import DeskTerms, VerificationDesk

AT_ONCE = 16
GOAL_BYTES = 10_000_000  # for 10,000


@dataclass(frozen=True, slots=True)
class Taken:
    """Bytes in the store, by `used_memory`."""

    empty: int
    accounts: int
    under_way: int

    @property
    def pending_bytes(self) -> int:
        return self.under_way - self.accounts


async def measure(store: RedisStore, policy: Policy, pending: int) -> Taken:
    """Raises StoreError, and AssertionError where a step is refused."""
    desk = VerificationDesk(
        store,
        keyed=KeyedHash(b"s" * 32),
        clock=SystemClock(),
        terms=DeskTerms(frozenset({Level.EMAIL, Level.IDENTITY}), codes_per_hour=1_000_000_000),
        policy=lambda: policy,
        count=lambda level, outcome: None,
    )
    empty = await _used(store)
    some_at_a_time = [range(n, min(n + AT_ONCE, pending)) for n in range(0, pending, AT_ONCE)]
    for some in some_at_a_time:
        await asyncio.gather(*(store.put(Subject(_account(n)), {}) for n in some))
    accounts = await _used(store)
    for some in some_at_a_time:
        await asyncio.gather(*(_begin(desk, store, n) for n in some))
    return Taken(empty, accounts, await _used(store))


async def _begin(desk: VerificationDesk, store: RedisStore, number: int) -> None:
    """The page, a code by mail, and a visit to a provider besides."""
    subject = await store.get(_account(number))
    token = desk.token_for(subject, Level.EMAIL, "rule")
    assert token is not None
    visit = await desk.visit(token)
    assert visit is not None
    await desk.brake_visit(f"{number:032x}")
    await desk.start(visit)
    visit = await desk.visit(token)
    assert visit is not None
    address = parse_address(f"somebody.of.length.{number}@mail.example.org")
    offer = await desk.offer_mail_code(visit, address, f"{number:032x}")
    assert isinstance(offer, Offer), offer
    token = desk.token_for(subject, Level.IDENTITY, "rule")
    assert token is not None
    visit = await desk.visit(token)
    assert visit is not None
    session = await desk.open_session(visit, Level.IDENTITY, "idcheck")
    assert isinstance(session, str), session


def _account(number: int) -> str:
    return f"acc_pending_{number:08d}"


async def _used(store: RedisStore) -> int:
    """Without the buffers of connections, which grow with what was just said: they are closed."""
    await store._client.connection_pool.disconnect(inuse_connections=False)
    return int((await store._client.info("memory"))["used_memory"])


async def run(policy: Policy, pending: int) -> Taken:
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedStore(Path(folder)) as url:
            store = await open_store(url, secret_fingerprint="0", timeout_s=10.0)
            try:
                return await measure(store, policy, pending)
            finally:
                await store.aclose()


@click.command()
@click.option("--pending", type=click.IntRange(1, 1_000_000), default=10_000, show_default=True)
@click.option("--policy", type=click.Path(exists=True, path_type=Path), default="policies/enforce")
def main(pending: int, policy: Path) -> None:
    """Measure, and exit 1 where it is more than 10 MB for 10,000."""
    from ..commands.replay import FixedPolicy

    try:
        taken = asyncio.run(run(FixedPolicy(policy).current, pending))
    except StoreError as error:
        raise click.ClickException(str(error)) from None
    each = taken.pending_bytes / pending
    click.echo(f"{pending:,} accounts: {(taken.accounts - taken.empty) / 1e6:.2f} MB")
    click.echo(
        f"their verifications under way: {taken.pending_bytes / 1e6:.2f} MB, {each:.0f} bytes"
    )
    if taken.pending_bytes > GOAL_BYTES * pending / 10_000:
        sys.exit(1)


if __name__ == "__main__":
    main()
