"""`hydragate state`: what people decided, out of one store and into another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from .. import __version__
from ..errors import UsageError
from ..settings_file import load_settings
from .clusters import decision_options

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
DATA_DIR = Path(".hydragate")


def store_options(command: F) -> F:
    """Where the state lies, as `serve` is told."""
    for option in (
        click.option("--store", help="A store URL; else the one of --config or --data-dir."),
        click.option("--secret-file", type=PATH, help="The secret of the gateways on that store."),
        click.option("--data-dir", type=PATH, help="Of an embedded store (default .hydragate)."),
        click.option("--config", type=PATH, help="The gateways' settings; flags win over it."),
    ):
        command = option(command)
    return command


@click.group()
def state() -> None:
    """Carry accounts, grants and people's decisions from one store to another."""


@state.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@store_options
def export_file(file: Path, **where: Any) -> None:
    """Write accounts with their hashed keys, grants, bans and quotas, proofs, appeals, and what
    people decided about clusters into a new FILE. No gateway has to run, none is disturbed.

    Counters stay behind. Exit code 1 when something else that people decided had to.
    """
    from ..workers.state_file import StateWriter
    from ..workers.state_transfer import export

    place = _Place(**where)
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        writer = StateWriter(file, secret=place.fingerprint, made_at=made_at, version=__version__)
    except OSError as error:
        raise UsageError(f"{file}: cannot be made: {error.strerror}") from None
    try:
        exported = asyncio.run(place.with_store(lambda store: export(store, writer)))
        writer.finish()
    except BaseException:
        writer.close()
        file.unlink()
        raise
    click.echo(f"{file}: {_counted(writer.counts)}")
    for missing in exported.missing:
        click.echo(f"hydragate: not in it: {missing}", err=True)
    if exported.missing:
        raise SystemExit(1)


@state.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Also into a store that holds accounts.")
@decision_options
@store_options
def import_file(file: Path, replace: bool, by: str, reason: str, **where: Any) -> None:
    """Take over a FILE of `export`, which must be whole and of the same secret.

    Decisions about clusters hold once a linker leads on the store.
    """
    from ..app import SystemClock
    from ..observe.audit import AuditLog
    from ..workers.state_file import read_head
    from ..workers.state_transfer import Hand
    from ..workers.state_transfer import import_file as transfer

    place = _Place(**where)
    head = read_head(file, secret=place.fingerprint)
    if place.data_dir.is_dir():  # before, so that no act is without its line
        audit = AuditLog(place.data_dir / "audit.jsonl")
        audit.write("state.import", str(file), by=by, reason=reason, outcome="asked")
    hand = Hand(by, reason)
    counts = asyncio.run(
        place.with_store(
            lambda store: transfer(store, file, clock=SystemClock(), hand=hand, replace=replace)
        )
    )
    click.echo(f"{file} of {head['made_at']}: {_counted(counts)}")
    if counts["decision"]:
        click.echo("the decisions about clusters hold once a linker leads on this store")


class _Place:
    """A store and its secret, found as `serve` finds them."""

    def __init__(
        self,
        *,
        store: str | None,
        secret_file: Path | None,
        data_dir: Path | None,
        config: Path | None,
    ) -> None:
        from ..app import read_secret, secret_path
        from ..core.keyed import KeyedHash

        # What only a gateway needs is not looked at here.
        given = {"store": store, "secret_file": secret_file, "data_dir": data_dir}
        wanted = {name: value for name, value in given.items() if value is not None}
        unused = {"policy": Path(), "upstreams": [{"url": "http://127.0.0.1"}]}
        settings = load_settings(config, unused | wanted)
        self.data_dir = settings.data_dir
        self._url = settings.store
        path, _ = secret_path(settings)
        self.fingerprint = KeyedHash(read_secret(path, may_create=False)).fingerprint()

    async def with_store(self, work: Callable[[Any], Awaitable[T]]) -> T:
        from ..stores import open_store

        store = await open_store(self._address(), secret_fingerprint=self.fingerprint, timeout_s=5)
        try:
            return await work(store)
        finally:
            await store.aclose()

    def _address(self) -> str:
        from ..stores.embedded import socket_path

        if self._url != "embedded":
            return self._url
        socket = socket_path(self.data_dir / "store")
        if not socket.exists():
            raise UsageError(
                f"{self.data_dir}: no gateway runs its embedded store; start it, or name --store"
            )
        return f"unix://{socket}"


def _counted(counts: Any) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "nothing"
