"""`hydragate verifications`: grants, appeals, and news that the directory was not told."""

from __future__ import annotations

import http.client
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import orjson

from .admin_client import TIMEOUT_S, AdminError, admin_options, connect, read_json_lines
from .clusters import decision_options

LEVELS = click.Choice(["email", "phone", "payment", "identity", "organization"])
BATCH = 1_000
BLOCK_BYTES = 65_536


@click.group()
def verifications() -> None:
    """Who is verified, who appeals; every order is audited."""


@verifications.command()
@click.argument("account_id")
@admin_options
def show(account_id: str, admin: str, token_file: Path) -> None:
    """Grants of one account, what is under way, and who shares its mailbox, card or identity."""
    path = f"/api/verifications/account?account_id={quote(account_id, safe='')}"
    _print(connect(admin, token_file).call("GET", path))


@verifications.command()
@click.argument("account_id")
@click.argument("level", type=LEVELS)
@click.option("--expires-at", type=int, help="Unix seconds; without it the grant never expires.")
@decision_options
@admin_options
def grant(
    account_id: str,
    level: str,
    expires_at: int | None,
    by: str,
    reason: str,
    admin: str,
    token_file: Path,
) -> None:
    """Count LEVEL as passed; holds with the account's next request."""
    body = {"account_id": account_id, "level": level, "expires_at": expires_at}
    _order(admin, token_file, "/api/verifications/grant", **body, by=by, reason=reason)


@verifications.command()
@click.argument("account_id")
@click.argument("level", type=LEVELS)
@decision_options
@admin_options
def revoke(account_id: str, level: str, by: str, reason: str, admin: str, token_file: Path) -> None:
    """Take LEVEL back; holds with the account's next request."""
    body = {"account_id": account_id, "level": level, "by": by, "reason": reason}
    _order(admin, token_file, "/api/verifications/revoke", **body)


@verifications.command()
@admin_options
def export(admin: str, token_file: Path) -> None:
    """Everybody's grants, one JSON object a line; `import` reads it."""
    client = connect(admin, token_file)
    request = urllib.request.Request(  # noqa: S310 - the operator's own URL
        client.url.rstrip("/") + "/api/verifications",
        headers={"authorization": f"Bearer {client.token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            # In blocks: read by lines, an answer that breaks off looks like one that has ended.
            while block := answer.read(BLOCK_BYTES):
                sys.stdout.buffer.write(block)
    except (OSError, http.client.HTTPException) as error:
        said = f"the export broke off, what was printed is not all: {type(error).__name__}"
        raise AdminError(said) from None


@verifications.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@decision_options
@admin_options
def import_file(file: Path, by: str, reason: str, admin: str, token_file: Path) -> None:
    """Take over what `export` printed; accounts must be there already."""
    lines = read_json_lines(file)
    granted, problems = 0, []
    client = connect(admin, token_file)
    for start in range(0, len(lines), BATCH):
        part = lines[start : start + BATCH]
        records = [record for _, record in part]
        body = orjson.dumps({"accounts": records, "by": by, "reason": reason})
        answer = client.call("POST", "/api/verifications/import", body)
        granted += answer["granted"]
        for problem in answer["problems"]:
            number, _, text = problem.partition(": ")
            problems.append(f"{file}:{part[int(number) - 1][0]}: {text}")
    click.echo(f"{granted} grants given")
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(1)


@verifications.command()
@admin_options
def appeals(admin: str, token_file: Path) -> None:
    """Those that wait for an answer, the longest first."""
    _print(connect(admin, token_file).call("GET", "/api/appeals"))


@verifications.command()
@click.argument("account_id")
@click.argument("text")
@click.option("--by", required=True, help="Who answers; kept with it.")
@admin_options
def answer(account_id: str, text: str, by: str, admin: str, token_file: Path) -> None:
    """Answer an appeal with TEXT, which the caller reads on the page."""
    body = {"account_id": account_id, "text": text, "by": by}
    _order(admin, token_file, "/api/appeals/answer", **body)


@verifications.command()
@click.option("--retry", is_flag=True, help="Tell it once more; what fails again stays.")
@admin_options
def dead(retry: bool, admin: str, token_file: Path) -> None:
    """News that the directory was never told. With --retry exit code 1 while some are left."""
    client = connect(admin, token_file)
    if not retry:
        _print(client.call("GET", "/api/verifications/dead"))
        return
    delivered = 0
    while True:
        answer = client.call("POST", "/api/verifications/dead/retry", b"{}")
        delivered += answer["delivered"]
        if not answer["left"] or not answer["delivered"]:
            break
    _print({"delivered": delivered, "left": answer["left"]})
    if answer["left"]:
        raise AdminError("the directory does not take the news: see the gateway's log for why")


def _order(admin: str, token_file: Path, path: str, **body: Any) -> None:
    _print(connect(admin, token_file).call("POST", path, orjson.dumps(body)))


def _print(answer: Any) -> None:
    click.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
