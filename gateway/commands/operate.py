"""`hydragate mode` and `hydragate explain`: what an operator reaches for first."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import click
import orjson

from ..observe.visible import visible_json
from .admin_client import admin_options, connect
from .clusters import act_options


@click.command()
@click.argument(
    "wanted",
    metavar="[normal|shadow-all]",
    required=False,
    type=click.Choice(["normal", "shadow-all"]),
)
@act_options
@admin_options
def mode(wanted: str | None, by: str, reason: str, admin: str, token_file: Path) -> None:
    """The kill switch: shadow-all stops every refusal, on every replica, with the next request.

    Without an argument it prints the mode in force.
    """
    client = connect(admin, token_file)
    if wanted is None:
        answer = client.call("GET", "/api/mode")
    else:
        body = orjson.dumps({"mode": wanted, "by": by, "reason": reason})
        answer = client.call("PUT", "/api/mode", body)
    click.echo(answer["mode"])


@click.command()
@click.argument("decision_id")
@click.option("--json", "as_json", is_flag=True, help="The whole record, for programs.")
@admin_options
def explain(decision_id: str, as_json: bool, admin: str, token_file: Path) -> None:
    """Say in words why a request was decided as it was.

    The id is in X-Hydragate-Decision of a refusal, and of any answer behind the req_ of its
    X-Request-Id, unless the caller or the model API gave that an id of its own.
    """
    found = connect(admin, token_file).call("GET", f"/api/decisions/{quote(decision_id, safe='')}")
    whole = visible_json(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    click.echo(whole if as_json else found["text"])
