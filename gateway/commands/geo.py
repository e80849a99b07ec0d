"""`hydragate geo`: what address data are in use, what they say, and how to make newer ones."""

from __future__ import annotations

import ipaddress
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
import orjson

from ..adapters.geo import GeoHolder, geo_paths
from ..adapters.geo.build import Tables, build
from ..errors import UsageError

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
ATTRIBUTION = (
    "IP geolocation by DB-IP (https://db-ip.com), CC-BY-4.0; ASN data from RouteViews, the RIRs "
    "and DB-IP, CC-BY-4.0; network classes from X4BNet (MIT) and published provider ranges (CC0)"
)


LISTS = click.Choice(["hosting", "vpn", "tor", "education"])


@click.group()
def geo() -> None:
    """Address data: country, autonomous system and class of a client's network."""


def sources(command: click.decorators.FC) -> click.decorators.FC:
    command = click.option(
        "--bundled/--no-bundled", default=True, help="Whether the shipped file is used behind them."
    )(command)
    return click.option(
        "--file", "files", type=FILE, multiple=True, help="As in geo.files; the first one wins."
    )(command)


@geo.command()
@sources
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(files: tuple[Path, ...], bundled: bool, as_json: bool) -> None:
    """Which files, of what age; whom to name where results are shown."""
    holder = GeoHolder(geo_paths(files, bundled=bundled))
    told: list[dict[str, Any]] = [
        {
            "file": str(file.path),
            "data_from": datetime.fromtimestamp(file.built_s, UTC).date().isoformat(),
            "age_days": _days(file.built_s),
            "lists": {name: _days(at_s) for name, at_s in sorted(file.lists.items())},
            "attribution": file.attribution,
        }
        for file in holder.current.files
    ]
    if as_json:
        click.echo(orjson.dumps(told).decode())
        return
    for one in told:
        click.echo(f"{one['file']}: data of {one['data_from']}, {one['age_days']} days old")
        for name, days in one["lists"].items():
            click.echo(f"  list of {name} networks: {days} days old")
        if one["attribution"]:
            click.echo(f"  {one['attribution']}")
    if not told:
        click.echo("no address data: country, ASN and network class are unknown")


def _days(at_s: int) -> int:
    return int((time.time() - at_s) // 86_400)


@geo.command()
@click.argument("addresses", nargs=-1, required=True)
@sources
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def lookup(
    addresses: tuple[str, ...], files: tuple[Path, ...], bundled: bool, as_json: bool
) -> None:
    """What a policy would know of each address."""
    holder = GeoHolder(geo_paths(files, bundled=bundled))
    for text in addresses:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise UsageError(f"'{text}' is no IP address") from None
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        place = holder.place_of(mapped or address)
        told = {
            "address": text,
            "country": place.country,
            "asn": place.asn,
            "network_class": place.network_class,
        }
        if as_json:
            click.echo(orjson.dumps(told).decode())
        else:
            said = [f"{key} {value}" for key, value in told.items() if value and key != "address"]
            click.echo(f"{text}: {', '.join(said) or 'nothing is known'}")


def _check_date(option: str, text: str) -> None:
    try:
        datetime.fromisoformat(text if len(text) > 7 else f"{text}-01")
    except ValueError:
        raise UsageError(f"{option}: '{text}' is no date") from None


@geo.command("build")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--countries", type=FILE, help="MaxMind-format file with countries.")
@click.option("--asns", type=FILE, multiple=True, help="CSV: first, last, number, name (.gz too).")
@click.option("--hosting", type=FILE, multiple=True, help="Networks, or provider,network lines.")
@click.option("--vpn", type=FILE, multiple=True, help="Networks, one a line (.gz too).")
@click.option("--tor", type=FILE, multiple=True, help="Exit addresses, one a line.")
@click.option("--education", type=FILE, multiple=True, help="Networks of universities and schools.")
@click.option("--data-date", required=True, help="Of the oldest source: 2026-06 or 2026-06-17.")
@click.option(
    "--list-date",
    "list_dates",
    type=(LISTS, str),
    multiple=True,
    metavar="CLASS DATE",
    help="Of the list of a class, where it is newer.",
)
@click.option(
    "--whole",
    type=LISTS,
    multiple=True,
    help="The list of this class is whole: what files behind this one say of it no longer counts.",
)
@click.option("--attribution", default=ATTRIBUTION, help="Whom to name where results are shown.")
def make(
    out: Path,
    countries: Path | None,
    asns: tuple[Path, ...],
    data_date: str,
    attribution: str,
    list_dates: tuple[tuple[str, str], ...],
    whole: tuple[str, ...],
    **lists: tuple[Path, ...],
) -> None:
    """Make one small file of public tables; all of them take about a minute.

    Without countries and ASN it holds lists alone: name it in geo.files, and what it does not know
    comes from the files behind it.
    """
    _check_date("--data-date", data_date)
    for network_class, when in list_dates:
        _check_date(f"--list-date {network_class}", when)
    for network_class in {*whole, *dict(list_dates)}:
        if not lists[network_class]:
            raise UsageError(f"--{network_class} is missing: which list is meant?")
    tables = Tables()
    if countries is not None:
        tables.read_countries(countries)
    for path in asns:
        tables.read_asns(path)
    for network_class in ("hosting", "education", "vpn", "tor"):  # what comes later wins
        for path in lists[network_class]:
            tables.read_class(path, network_class)
    made = date.today().isoformat()
    header = build(
        *(tables, out),
        made=made,
        data_date=data_date,
        attribution=attribution,
        lists=dict(list_dates),
        whole=whole,
    )
    size = out.stat().st_size / 2**20
    click.echo(f"{out}: {header.four:,} IPv4 and {header.six:,} IPv6 ranges, {size:.1f} MiB")
