"""`hydragate accounts`: the operator's view of who may call."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click
import orjson

from .admin_client import AdminClient, AdminError, admin_options, connect
from .clusters import act_options

PAGE = 1_000
MAX_SOURCE = 400  # of a file's name, from its end
NOTHING_DONE = "nothing was imported or removed: --whole needs every line sound"


@click.group()
def accounts() -> None:
    """Import, show, ban and erase accounts of a running gateway."""


@accounts.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--whole", is_flag=True, help="Remove imported accounts that the file does not name.")
@act_options
@admin_options
def import_file(
    file: Path, whole: bool, by: str, reason: str, admin: str, token_file: Path
) -> None:
    """Import records (JSON Lines, accounts v1); keys are hashed on arrival.

    A bad line costs no other one, but with --whole nothing is done then. Exit code 1 when a line
    is bad; a warning is none.
    """
    client = connect(admin, token_file)
    asked = {"whole": str(whole).lower(), "source": str(file)[-MAX_SOURCE:]}
    path = _path("import", **asked, by=by, reason=reason)
    try:
        answer = client.call("POST", path, file.read_bytes(), "application/x-ndjson")
    except AdminError as error:
        if not isinstance(error.said, dict) or "bad" not in error.said:
            raise
        answer = error.said
    for problem in answer["problems"]:
        click.echo(problem, err=True)
    counts = f"{answer['imported']} imported, {answer['removed']} removed, {answer['bad']} bad"
    is_refused = whole and answer["bad"] > 0
    click.echo(f"{NOTHING_DONE} ({answer['bad']} bad)" if is_refused else counts)
    if answer["bad"]:
        sys.exit(1)


@accounts.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--all", "every", is_flag=True, help="As many as there are, whatever --limit says.")
@admin_options
def list_accounts(limit: int, every: bool, admin: str, token_file: Path) -> None:
    """One account a line, as JSON, in no order.

    An account that is added or changed meanwhile may come twice, or not at all.
    """
    listed = _listed(connect(admin, token_file), PAGE if every else min(limit, PAGE))
    for account in listed if every else islice(listed, limit):
        click.echo(orjson.dumps(account).decode())


@accounts.command()
@click.argument("account_id")
@admin_options
def show(account_id: str, admin: str, token_file: Path) -> None:
    """All that is stored of one account."""
    _print(connect(admin, token_file).call("GET", _path(account_id)))


@accounts.command()
@click.argument("account_id")
@act_options
@admin_options
def ban(account_id: str, by: str, reason: str, admin: str, token_file: Path) -> None:
    """Refuse the account from its next request on."""
    path = _path(account_id, by=by, reason=reason)
    _patch(connect(admin, token_file), path, {"status": "banned"})


@accounts.command()
@click.argument("account_id")
@act_options
@admin_options
def unban(account_id: str, by: str, reason: str, admin: str, token_file: Path) -> None:
    """Undo a ban: the account is again what it was before, adopted or active."""
    path = _path(account_id, "/unban", by=by, reason=reason)
    _print(connect(admin, token_file).call("POST", path))


@accounts.command("set")
@click.argument("account_id")
@click.argument("changes", nargs=-1, required=True, metavar="FIELD=JSON…")
@act_options
@admin_options
def set_fields(
    account_id: str,
    changes: tuple[str, ...],
    by: str,
    reason: str,
    admin: str,
    token_file: Path,
) -> None:
    """Change fields of the record: tier=scale, or quotas='{"account-requests": "5k/min"}'."""
    record: dict[str, Any] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise click.BadParameter(f"'{change}' is not FIELD=JSON")
        try:
            record[name] = orjson.loads(text)
        except orjson.JSONDecodeError:
            record[name] = text  # a bare word is a string
    _patch(connect(admin, token_file), _path(account_id, by=by, reason=reason), record)


@accounts.command()
@click.argument("account_id")
@click.confirmation_option(prompt="Erase the account, its keys, counters and log mapping?")
@act_options
@admin_options
def erase(account_id: str, by: str, reason: str, admin: str, token_file: Path) -> None:
    """Forget an account: keys, counters, and who its pseudonym in the logs was."""
    connect(admin, token_file).call("DELETE", _path(account_id, by=by, reason=reason))
    click.echo("erased")


def _listed(client: AdminClient, page: int) -> Iterator[dict[str, Any]]:
    """Every account, of which never more than a page is in memory."""
    cursor = ""
    while True:
        answer = client.call("GET", f"/api/accounts?limit={page}{cursor}")
        yield from answer["accounts"]
        if answer["next"] is None:
            return
        cursor = f"&cursor={quote(answer['next'], safe='')}"


def _patch(client: AdminClient, path: str, record: dict[str, Any]) -> None:
    answer = client.call("PATCH", path, orjson.dumps(record))
    for text in answer.pop("warnings", ()):
        click.echo(f"warning: {text}", err=True)
    _print(answer)


def _path(name: str, act: str = "", **asked: str) -> str:
    """Of one account, or of an order about all; what is asked stays out of it where empty."""
    query = urlencode({key: text for key, text in asked.items() if text})
    return f"/api/accounts/{quote(name, safe='')}{act}{'?' if query else ''}{query}"


def _print(answer: Any) -> None:
    click.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
