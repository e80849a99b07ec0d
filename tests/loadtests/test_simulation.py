"""`hydragate simulate`: the open loop's bytes while nobody is refused, else reactions that show."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.loadtests.report.labels import read_labels
from gateway.loadtests.report.measure import measure
from gateway.loadtests.report.run_dir import read_run
from gateway.loadtests.worlds.load import load_script

from .worlds.builders import campaign, ordinary, write_scenario

POLICIES = Path(__file__).resolve().parents[2] / "policies"
SHARED = {"per_payer": 10, "per_domain": 60, "per_signup_address": 4, "per_burst": 60}
POOL = campaign(facts={**SHARED, "verification": {"payment": 1}}, relay={"bans_per_day": 0.05})
OUTPUT = ("decisions.jsonl.gz", "clusters.jsonl")
WORLD = ("traffic.jsonl.zst", "accounts.jsonl", "events.jsonl", "labels.jsonl", "line-labels.jsonl")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def simulate(scenario: Path, out: Path, *options: object) -> dict[str, Any]:
    result = run("simulate", scenario, "--out", out, *options)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = orjson.loads((out / "simulation.json").read_bytes())
    return found


def records(path: Path) -> list[dict[str, Any]]:
    text = path.read_bytes()
    if path.suffix == ".gz":
        text = gzip.decompress(text)
    return [orjson.loads(line) for line in text.splitlines()]


def decisions(out: Path) -> list[dict[str, Any]]:
    return records(out / "decisions.jsonl.gz")


def reacting(folder: Path, **knobs: Any) -> Path:
    """A scenario whose campaign reacts so."""
    newcomers = ordinary(
        name="newcomers",
        share=0.3,
        facts={"verification": {"none": 1}, "age_days": [0, 1], "joins": 0},
    )
    path = write_scenario(
        folder, classes=[ordinary(share=0.7), newcomers], campaign=POOL, accounts=60, days=1.6
    )
    scenario = orjson.loads(path.read_bytes())
    scenario["campaigns"][0]["reacts"] = knobs
    path.write_bytes(orjson.dumps(scenario))
    return path


@pytest.fixture(scope="module")
def enforced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which the operator has lost what is refused, and buys a few accounts."""
    folder = tmp_path_factory.mktemp("enforced")
    simulate(reacting(folder, verifies=0.0, buys_daily=0.05), folder / "out", "--traffic")
    return folder


def test_where_nobody_is_refused_the_closed_loop_is_the_open_one_to_the_byte(
    tmp_path: Path,
) -> None:
    scenario = write_scenario(
        tmp_path,
        classes=[ordinary(fails_over=0.5, moves=0.3, pastes=0.1, group={"size": [2, 4]})],
        campaign=POOL,
        knobs={"mixing": 1.0, "affine": True},
        days=0.3,
        faults=0.05,
    )
    made, open_loop, closed = tmp_path / "made", tmp_path / "open", tmp_path / "closed"
    assert run("generate", scenario, "--out", made).exit_code == 0
    files = [
        word for name in ("accounts", "events") for word in (f"--{name}", made / f"{name}.jsonl")
    ]
    policy = ("--policy", POLICIES / "observe")
    traffic = ("--traffic", made / "traffic.jsonl.zst")
    assert run("replay", *traffic, *files, *policy, "--out", open_loop).exit_code == 0
    found = simulate(scenario, closed, *policy, "--traffic")
    assert found["refused"] == 0 < found["exchanges"]
    for name in OUTPUT:
        assert (closed / name).read_bytes() == (open_loop / name).read_bytes(), name
    for name in WORLD:
        assert (closed / name).read_bytes() == (made / name).read_bytes(), name


def test_the_same_scenario_seed_and_policy_give_the_same_bytes(
    enforced: Path, tmp_path: Path
) -> None:
    simulate(enforced / "scenario.yaml", tmp_path / "again", "--traffic")
    for name in (*OUTPUT, *WORLD, "simulation.json"):
        assert (tmp_path / "again" / name).read_bytes() == (enforced / "out" / name).read_bytes()
    simulate(enforced / "scenario.yaml", tmp_path / "other", "--seed", 2, "--days", 0.1)
    assert decisions(tmp_path / "other") != decisions(enforced / "out")


def test_a_campaign_that_reacts_is_contained(enforced: Path) -> None:
    found = orjson.loads((enforced / "out" / "simulation.json").read_bytes())
    (pool,) = found["campaigns"]
    accounts = pool["accounts"]
    assert pool["containment_is_measurable"]
    assert max(pool["suspected_after_h"], pool["contained_after_h"]) < 6
    assert accounts["lost"] > 40
    assert accounts["from_reserve"] > 0 < accounts["bought"]
    assert pool["served"]["of_wanted"]["share"] < 0.1
    assert pool["wanted"] >= pool["served"]["of_wanted"]["part"]
    assert pool["price"]["accounts_used"] == 3.0 * accounts["used"]


def test_whoever_verifies_is_served_afterwards(enforced: Path) -> None:
    found = orjson.loads((enforced / "out" / "simulation.json").read_bytes())
    newcomers = found["innocents"]["by_class"]["newcomers"]
    assert newcomers["verified"]["email"] > 0
    delay_s = load_script().honest.email.delay_s
    assert newcomers["minutes_lost"]["email"] == newcomers["verified"]["email"] * delay_s / 60
    verified = {
        event["account_id"]: event["ts"]
        for event in records(enforced / "out" / "events.jsonl")
        if event["event"] == "verified" and event["level"] == "email"
    }
    served_after = set()
    for line in decisions(enforced / "out"):
        at_s = verified.get(line["account_id"])
        if at_s is None or line["reason"] == "account_banned":
            continue
        if line["ts"] > at_s:
            assert line["reason"] != "premium-before-mail"
            served_after.add(line["account_id"])
        elif line["ts"] > at_s - delay_s:
            assert line["reason"] in ("premium-before-mail", "ok")
    assert len(served_after) > len(verified) / 2


def test_what_it_says_is_what_was_decided(enforced: Path) -> None:
    out = enforced / "out"
    found = orjson.loads((out / "simulation.json").read_bytes())
    lines = decisions(out)
    labels = {one["account_id"]: one for one in records(out / "labels.jsonl")}
    (pool,) = found["campaigns"]
    of_pool = [line for line in lines if labels[line["account_id"]]["campaign"] == "pool"]
    assert pool["sent"] == len(of_pool)
    assert pool["served"]["of_sent"]["part"] == sum(line["served"] for line in of_pool)
    assert pool["accounts"]["used"] == len({line["account_id"] for line in of_pool})
    others = [line for line in lines if labels[line["account_id"]]["campaign"] is None]
    everybody = found["innocents"]["all"]
    assert everybody["exchanges"] == len(others)
    assert everybody["refused"] == sum(not line["served"] for line in others)
    touched = {line["account_id"] for line in others if not line["served"]}
    assert everybody["touched"] == len(touched)
    summary = orjson.loads((out / "summary.json").read_bytes())
    assert (summary["exchanges"], summary["refused"]) == (found["exchanges"], found["refused"])
    assert [one["line"] for one in records(out / "line-labels.jsonl")] == [
        number for number, line in enumerate(lines, 1) if labels[line["account_id"]]["campaign"]
    ]


def test_no_answer_of_a_refused_exchange_is_in_what_comes_after(
    enforced: Path, tmp_path: Path
) -> None:
    """What was kept has no answer where none came, and replays to the same decisions."""
    out = enforced / "out"
    files = [out / name for name in ("traffic.jsonl.zst", "accounts.jsonl", "events.jsonl")]
    words = ("--traffic", files[0], "--accounts", files[1], "--events", files[2])
    again = run("replay", *words, "--policy", POLICIES / "enforce", "--out", tmp_path)
    assert again.exit_code == 0, again.output
    for name in OUTPUT:
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()


def test_the_report_finds_the_same_in_what_simulate_writes(enforced: Path) -> None:
    out = enforced / "out"
    known = read_labels(out / "labels.jsonl")
    run = read_run("it", out, known, line_labels=out / "line-labels.jsonl")
    (found,) = measure(run, known.groups).campaigns
    (pool,) = orjson.loads((out / "simulation.json").read_bytes())["campaigns"]
    assert found.served.part == pool["served"]["of_sent"]["part"]
    assert found.accounts_refused >= pool["accounts"]["lost"]


def test_it_says_what_came_of_it_and_gives_programs_json(tmp_path: Path) -> None:
    scenario = reacting(tmp_path)
    said = run("simulate", scenario, "--out", tmp_path / "out", "--days", 0.1)
    assert "\npool\n  served     " in said.output
    assert f"results in {tmp_path / 'out'}" in said.output
    words = ("--days", 0.1, "--scale", 0.5, "--json")
    found = orjson.loads(run("simulate", scenario, "--out", tmp_path / "out", *words).output)
    assert found == orjson.loads((tmp_path / "out" / "simulation.json").read_bytes())
    assert (found["days"], found["scale"]) == (0.1, 0.5)
    assert not (tmp_path / "out" / "traffic.jsonl.zst").exists()


def test_bad_files_end_with_1_their_name_and_place_and_wrong_usage_with_2(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    misspelt = run("simulate", reacting(tmp_path, verifys=1), *out)
    assert misspelt.exit_code == 1
    assert "scenario.yaml:1: campaigns[0].reacts.verifys: no such key; did you mean verifies?" in (
        misspelt.output
    )
    script = tmp_path / "script.yaml"
    script.write_text("version: 1\nhonest: {}\n")
    unfinished = run("simulate", reacting(tmp_path), *out, "--script", script)
    assert unfinished.exit_code == 1
    assert "script.yaml:2: honest.email" in unfinished.output
    assert run("simulate", tmp_path / "none.yaml", *out).exit_code == 2
    assert run("simulate", reacting(tmp_path)).exit_code == 2
    (tmp_path / "file").write_text("")
    assert run("simulate", reacting(tmp_path), "--out", tmp_path / "file" / "b").exit_code == 2
