"""`hydragate clusters`: what was linked and why, and what people decide about it."""

from __future__ import annotations

import getpass
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click
import orjson

from .admin_client import AdminError, admin_options, connect, read_json_lines
from .instants import instant_us

F = TypeVar("F", bound=Callable[..., Any])
MAX_WHY_SHOWN = 20
MAX_LOOKED_AT = 1_000  # accounts whose behaviour is looked at
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


def _whoami() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return ""


def decision_options(command: F) -> F:
    """`--by` and `--reason`: a decision without them is worth nothing to who reads it later."""
    command = click.option("--reason", required=True, help="Why; kept with the decision.")(command)
    return click.option(
        "--by", default=_whoami, show_default="your login", help="Who decides; kept as well."
    )(command)


def act_options(command: F) -> F:
    """`--by` and `--reason` of an act that also goes without: both into the audit log."""
    command = click.option("--reason", default="", help="Why; kept in the audit log.")(command)
    return click.option(
        "--by", default=_whoami, show_default="your login", help="Who does it; kept as well."
    )(command)


@click.group()
def clusters() -> None:
    """Review clusters of linked accounts; every decision is kept and audited."""


@clusters.command("list")
@click.option("--state", type=click.Choice(["watched", "suspected", "confirmed", "dismissed"]))
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True)
@json_option
@admin_options
def list_clusters(
    state: str | None, limit: int, as_json: bool, admin: str, token_file: Path
) -> None:
    """The review queue: what matters most first."""
    query = f"?limit={limit}" + (f"&state={state}" if state else "")
    answer = connect(admin, token_file).call("GET", f"/api/clusters{query}")
    if as_json:
        _print(answer)
        return
    click.echo(f"{'cluster':24} {'state':10} {'accounts':>8} {'score':>6}  first seen (UTC)   why")
    for one in answer["clusters"]:
        why = one["why"][0] if one["why"] else ""
        click.echo(
            f"{one['cluster_id']:24} {one['state']:10} {one['size']:>8} {one['score']:>6.0f}  "
            f"{_instant(one['first_seen_us'])}  {why}"
        )
    note = " · frozen: nobody is linked anew" if answer["frozen"] else ""
    click.echo(f"{len(answer['clusters'])} of {answer['total']} clusters{note}")


@clusters.command()
@click.argument("cluster_id")
@click.option("--limit", type=click.IntRange(1, 10_000), default=1_000, show_default=True)
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Accounts to leave out.")
@admin_options
def show(cluster_id: str, limit: int, offset: int, admin: str, token_file: Path) -> None:
    """All that is known of one cluster, as JSON."""
    _print(_shown(cluster_id, limit, offset, admin, token_file))


@clusters.command()
@click.argument("cluster_id")
@admin_options
def explain(cluster_id: str, admin: str, token_file: Path) -> None:
    """Why these accounts are thought to be one hand, in words and numbers."""
    cluster = _shown(cluster_id, MAX_LOOKED_AT, 0, admin, token_file)
    click.echo("\n".join(explained(cluster | {"accounts": cluster["accounts"][:10]})))


@clusters.command()
@click.argument("cluster_id")
@decision_options
@admin_options
def confirm(cluster_id: str, by: str, reason: str, admin: str, token_file: Path) -> None:
    """It is one hand: policies that ask for `confirmed` apply to all of its accounts."""
    _decide(admin, token_file, f"/api/clusters/{_q(cluster_id)}/confirm", by=by, reason=reason)


@clusters.command()
@click.argument("cluster_id")
@decision_options
@admin_options
def dismiss(cluster_id: str, by: str, reason: str, admin: str, token_file: Path) -> None:
    """These accounts are innocent of one another; remembered."""
    _decide(admin, token_file, f"/api/clusters/{_q(cluster_id)}/dismiss", by=by, reason=reason)


@clusters.command()
@click.argument("cluster_id")
@click.argument("accounts", nargs=-1, required=True)
@decision_options
@admin_options
def split(
    cluster_id: str, accounts: tuple[str, ...], by: str, reason: str, admin: str, token_file: Path
) -> None:
    """Make a cluster of its own of some of its ACCOUNTS."""
    path = f"/api/clusters/{_q(cluster_id)}/split"
    _decide(admin, token_file, path, by=by, reason=reason, accounts=list(accounts))


@clusters.command()
@click.argument("account_id")
@click.argument("cluster_id", required=False)
@click.option("--never", is_flag=True, help="In no cluster, whatever links it.")
@decision_options
@admin_options
def pin(
    account_id: str,
    cluster_id: str | None,
    never: bool,
    by: str,
    reason: str,
    admin: str,
    token_file: Path,
) -> None:
    """Fix an account to a cluster, or with --never to none."""
    if (cluster_id is None) is not never:
        raise click.UsageError("give either a CLUSTER_ID or --never")
    _decide(
        *(admin, token_file, "/api/clusters/pin"),
        by=by,
        reason=reason,
        account_id=account_id,
        cluster_id=cluster_id,
    )


@clusters.command()
@click.option("--off", is_flag=True, help="Go on linking.")
@decision_options
@admin_options
def freeze(off: bool, by: str, reason: str, admin: str, token_file: Path) -> None:
    """Link nobody anew; what is published stays in force."""
    body = orjson.dumps({"frozen": not off, "by": by, "reason": reason})
    _print(connect(admin, token_file).call("PUT", "/api/linker/frozen", body))


@clusters.command()
@click.option("--since", required=True, help="30m, 6h, 2d ago, or 2026-04-22T08:00:00Z.")
@decision_options
@admin_options
def undo(since: str, by: str, reason: str, admin: str, token_file: Path) -> None:
    """Take back what was linked by machine since then; people's decisions stay."""
    since_us = instant_us("--since", since, time.time())
    _decide(admin, token_file, "/api/linker/undo", by=by, reason=reason, since_us=since_us)


@clusters.command()
@admin_options
def export(admin: str, token_file: Path) -> None:
    """What people decided, one JSON object a line; `import` reads it."""
    for one in connect(admin, token_file).call("GET", "/api/clusters/decisions")["decisions"]:
        click.echo(orjson.dumps(one).decode())


@clusters.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@decision_options
@admin_options
def import_file(file: Path, by: str, reason: str, admin: str, token_file: Path) -> None:
    """Take over what `export` printed, here or elsewhere.

    Exit code 1 when a line is bad, or names what is another one here; it costs no other line.
    A line that is no JSON costs them all.
    """
    lines = read_json_lines(file)
    decisions = [record for _, record in lines]
    body = orjson.dumps({"by": by, "reason": reason, "decisions": decisions})
    try:
        answer = connect(admin, token_file).call("POST", "/api/clusters/decisions", body)
    except AdminError as error:
        if not isinstance(error.said, dict) or "imported" not in error.said:
            raise
        answer = error.said
    problems = [_at_line(file, lines, problem) for problem in answer["problems"]]
    for problem in problems:
        click.echo(problem, err=True)
    _print(answer | {"problems": problems})
    if problems:
        sys.exit(1)


def _at_line(file: Path, lines: list[tuple[int, dict[str, Any]]], problem: str) -> str:
    """`decision 0: …` as what the first line says."""
    head, _, text = problem.partition(": ")
    _, _, position = head.partition("decision ")
    return f"{file}:{lines[int(position)][0]}: {text}" if position.isdigit() else problem


def explained(cluster: dict[str, Any]) -> list[str]:
    """A cluster as lines of text."""
    size = cluster["size"]
    lines = [
        f"{cluster['cluster_id']}: {cluster['state']}, {size} accounts, "
        f"score {cluster['score']:.0f} nats, first seen {_instant(cluster['first_seen_us'])} UTC",
        *(f"  - {reason}" for reason in cluster["why"][:MAX_WHY_SHOWN]),
        "evidence by family, in nats:",
    ]
    by_weight = sorted(cluster["families"].items(), key=lambda pair: -pair[1])
    lines += [f"  {weight:8.1f}  {family}" for family, weight in by_weight]
    lines += _behaviour(cluster.get("behaviour"))
    lines.append("accounts: " + ", ".join(cluster["accounts"]) + (" …" if size > 10 else ""))
    for one in cluster["decisions"]:
        lines.append("decided: " + orjson.dumps(one).decode())
    if cluster["state"] in ("watched", "suspected"):
        lines.append(
            f"confirmed, all {size} would carry cluster_state: confirmed from their next request "
            "on; dismissed, they would be linked no more by what is known today"
        )
    if cluster["unpublished"]:
        lines.append(f"{cluster['unpublished']} accounts do not say so yet")
    return lines


def _behaviour(found: dict[str, Any] | None) -> list[str]:
    """What its accounts do; it moves no verdict, so it comes after the evidence."""
    if found is None:
        return []
    score = found["score"]
    if score is None:
        return [f"behaviour: {reason}" for reason in found["why"]]
    head = (
        f"behaviour of {found['members_read']} accounts beside {found['compared_with']} of all: "
        f"one hand by {score:.2f} (no evidence, and no verdict rests on it), because"
    )
    return [head, *(f"  - {reason}" for reason in found["why"])]


def _instant(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _shown(cluster_id: str, limit: int, offset: int, admin: str, token_file: Path) -> Any:
    path = f"/api/clusters/{_q(cluster_id)}?limit={limit}&offset={offset}"
    return connect(admin, token_file).call("GET", path)


def _decide(admin: str, token_file: Path, path: str, **body: Any) -> None:
    _print(connect(admin, token_file).call("POST", path, orjson.dumps(body)))


def _q(text: str) -> str:
    return quote(text, safe="")


def _print(answer: Any) -> None:
    click.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
