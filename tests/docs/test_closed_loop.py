"""What the page on evaluation shows of `hydragate simulate` is what it prints, figures aside: those
follow the linker, and the page says what they were."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from gateway.cli import main
from gateway.loadtests.worlds.schema import RawReacts

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "evaluation.md").read_text()
SHOWN = re.compile(r"<!-- simulate -->\n```console\n\$ hydragate (.*?)\n(.*?)```", re.DOTALL)
HOURS = re.compile(r"never|after [\d.]+ h|unknown \(under a day\)")
ABOUT_A_CLASS = re.compile(r"\n  [a-z-]+: [^\n]*touched[^\n]*")


def shape(printed: str) -> str:
    """Without figures, and without the classes to which something happened."""
    timeless = HOURS.sub("WHEN", ABOUT_A_CLASS.sub("", printed))
    return re.sub(r"\d[\d,.]*", "N", timeless)


def test_the_command_prints_what_the_page_shows(tmp_path: Path) -> None:
    shown = SHOWN.search(PAGE)
    assert shown is not None
    words = shlex.split(shown[1])
    out = tmp_path / words.pop()
    result = CliRunner().invoke(main, [*words, str(out)])
    assert result.exit_code == 0, result.output
    assert shape(result.output.replace(str(out), out.name)) == shape(shown[2])
    assert {path.name for path in out.iterdir()} == {
        *("decisions.jsonl.gz", "clusters.jsonl", "summary.json", "simulation.json"),
        *("labels.jsonl", "line-labels.jsonl", "events.jsonl"),
    }


def test_every_knob_of_an_operator_is_on_the_page() -> None:
    for name in RawReacts.model_fields:
        assert f"`{name}`" in PAGE, f"docs/evaluation.md does not say what {name} does"
