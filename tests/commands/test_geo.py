"""`hydragate geo`: lists of one's own before the shipped data, and what is said of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main

LIST = "# exits\n8.8.8.0/24\n2001:4860:4860::/48\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["geo", *arguments])


def built(folder: Path, *more: str) -> Result:
    exits = folder / "exits.txt"
    exits.write_text(LIST)
    out = str(folder / "fresh.geo")
    return run("build", out, "--vpn", str(exits), "--data-date", "2026-11-20", *more)


def test_a_list_alone_goes_before_the_shipped_data(tmp_path: Path) -> None:
    assert built(tmp_path, "--whole", "vpn", "--attribution", "own list").exit_code == 0
    fresh = str(tmp_path / "fresh.geo")
    said = run("lookup", "--json", "--file", fresh, "8.8.8.8", "2001:4860:4860::8888", "193.0.6.1")
    four, six, other = map(json.loads, said.output.splitlines())
    assert (four["asn"], four["network_class"]) == (15169, "vpn")
    assert (six["asn"], six["network_class"]) == (15169, "vpn")
    assert other["network_class"] == "eyeball"
    (first, shipped) = json.loads(run("status", "--json", "--file", fresh).output)
    assert (first["data_from"], list(first["lists"])) == ("2026-11-20", ["vpn"])
    assert set(shipped["lists"]) == {"hosting", "vpn"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--whole", "tor"), "--tor is missing"),
        (("--list-date", "tor", "2026-11-20"), "--tor is missing"),
        (("--list-date", "vpn", "yesterday"), "--list-date vpn: 'yesterday' is no date"),
        (("--data-date", "2026-13"), "--data-date: '2026-13' is no date"),
        (("--whole", "eyeball"), "'eyeball' is not one of"),
    ],
)
def test_what_is_wrong_with_a_build_is_said(
    tmp_path: Path, more: tuple[str, ...], said: str
) -> None:
    found = built(tmp_path, *more)
    assert found.exit_code != 0
    assert said in found.output + str(found.exception)
    assert not (tmp_path / "fresh.geo").exists()


def test_a_mapped_address_is_its_ipv4_and_a_private_one_is_nowhere() -> None:
    said = run("lookup", "::ffff:8.8.8.8", "10.0.0.1").output.splitlines()
    assert "asn 15169" in said[0]
    assert said[1] == "10.0.0.1: nothing is known"
