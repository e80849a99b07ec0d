"""`hydragate generate`: files that replay reads, the same bytes each time, errors worth reading."""

from __future__ import annotations

import gzip
from pathlib import Path

import orjson
import pytest
import zstandard
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.workers.traffic import LoggedRequest

from .builders import campaign, write_scenario


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["generate", *map(str, arguments)])


def read_lines(path: Path) -> list[bytes]:
    text = path.read_bytes()
    if path.suffix == ".gz":
        text = gzip.decompress(text)
    elif path.suffix == ".zst":
        text = zstandard.ZstdDecompressor().stream_reader(text).read()
    return text.splitlines()


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    return write_scenario(tmp_path, campaign=campaign(), knobs={"mixing": 1.0}, days=0.1)


@pytest.mark.parametrize("form", ["zst", "gz", "jsonl"])
def test_the_files_are_those_that_replay_reads(scenario: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    result = run(scenario, "--out", out, "--format", form)
    assert result.exit_code == 0, result.output
    (traffic,) = out.glob("traffic.*")
    lines = read_lines(traffic)
    summary = orjson.loads((out / "scenario.json").read_bytes())
    assert summary["counts"]["exchanges"] == len(lines) > 100
    assert summary["seed"] == 1
    first = orjson.loads(lines[0])
    assert set(first) == set(LoggedRequest.__struct_fields__)
    assert first["body"]["model"]
    assert (len(read_lines(out / "accounts.jsonl"))) == summary["counts"]["accounts"]
    assert len(read_lines(out / "labels.jsonl")) == summary["counts"]["labels"]


def test_line_labels_tell_strangers_from_the_campaign_on_its_accounts(
    scenario: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(scenario, "--out", out)
    accounts = [orjson.loads(line)["account_id"] for line in read_lines(out / "traffic.jsonl.zst")]
    labels = [orjson.loads(line) for line in read_lines(out / "labels.jsonl")]
    pooled = {label["account_id"] for label in labels if label["campaign"]}
    marked = {}
    for line in read_lines(out / "line-labels.jsonl"):
        label = orjson.loads(line)
        marked[label["line"]] = label["campaign"]
    assert set(marked.values()) == {"pool", None}
    for number, account in enumerate(accounts, 1):
        assert (account in pooled) == (number in marked)


def test_the_same_command_writes_the_same_bytes(scenario: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(scenario, "--out", tmp_path / name)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_kinds_of_task_are_written_when_asked_for(scenario: Path, tmp_path: Path) -> None:
    run(scenario, "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "kinds.jsonl").exists()
    run(scenario, "--out", tmp_path / "out", "--kinds")
    kinds = [orjson.loads(line) for line in read_lines(tmp_path / "out" / "kinds.jsonl")]
    traffic = read_lines(tmp_path / "out" / "traffic.jsonl.zst")
    assert [kind["line"] for kind in kinds] == list(range(1, len(traffic) + 1))
    assert {"agent", "elicit", "grade"} <= {kind["kind"] for kind in kinds}
    for kind, line in zip(kinds, traffic, strict=True):
        is_embedding = orjson.loads(line)["path"] == "/v1/embeddings"
        assert (kind["kind"] == "embed") == is_embedding


def test_standard_output_carries_the_traffic_alone(scenario: Path, tmp_path: Path) -> None:
    run(scenario, "--out", tmp_path / "out", "--format", "jsonl")
    result = run(scenario, "--stdout")
    assert result.stdout_bytes == (tmp_path / "out" / "traffic.jsonl").read_bytes()


def test_without_campaigns_there_are_no_line_labels(tmp_path: Path) -> None:
    run(write_scenario(tmp_path, days=0.05), "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "line-labels.jsonl").exists()


def test_a_bad_scenario_ends_with_1_and_wrong_usage_with_2(scenario: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_bytes(scenario.read_bytes().replace(b'"days"', b'"dais"'))
    result = run(broken, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "broken.yaml:1: dais: no such key; did you mean days?" in result.output
    assert not (tmp_path / "out").exists()
    assert run(scenario).exit_code == 2
    assert run(scenario, "--out", tmp_path, "--stdout").exit_code == 2
    assert run(tmp_path / "none.yaml", "--stdout").exit_code == 2
    (tmp_path / "file").write_text("")
    assert run(scenario, "--out", tmp_path / "file" / "below").exit_code == 2
