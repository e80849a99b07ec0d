"""The page: whole by itself, silent about who is who, and drawn by a real browser."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.loadtests.report.words import percent, span

from .runs import Line, label, write_lines, write_run

CAMPAIGN = 'pool <of> & "three"'
ACCOUNTS = [f"acc_{number:016x}" for number in range(12)]
LATENCY = {
    "wanted_per_s": 50.0,
    "compression": 1.0,
    "load": {
        "sent": 100,
        "per_s": 49.8,
        "errors": {"timeout": 1},
        "latency_ms": {"p50": 5.0, "p90": 8.0, "p95": 9.0, "p99": 20.0, "p999": 30.0, "max": 31.0},
    },
}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    labels = [label(a, CAMPAIGN) for a in ACCOUNTS[:4]]
    labels += [label(a, class_="classroom behind one address") for a in ACCOUNTS[4:]]
    write_lines(folder / "labels.jsonl", labels)
    for name, refuses_from in (("base", 99), ("linked", 6)):
        lines: list[Line | dict[str, object]] = [
            Line(a, hour, "deny" if i < 4 and hour >= refuses_from else "allow")
            for hour in range(40)
            for i, a in enumerate(ACCOUNTS)
        ]
        clusters = [{"cluster_id": "7", "state": "suspected", "accounts": ACCOUNTS[:5]}]
        write_run(
            folder / name,
            lines,
            clusters=clusters if name == "linked" else (),
            latency=LATENCY if name == "linked" else None,
        )
    result = CliRunner().invoke(
        main,
        [
            *("report", "--run", f"limits only={folder / 'base'}"),
            *("--run", f"linked={folder / 'linked'}"),
            *("--labels", str(folder / "labels.jsonl"), "--out", str(folder / "out")),
        ],
    )
    assert result.exit_code == 0, result.output
    assert str(folder / "out" / "report.html") in result.output
    return folder / "out"


@pytest.fixture(scope="module")
def page(out: Path) -> str:
    return (out / "report.html").read_text(encoding="utf-8")


def test_the_page_asks_for_nothing_outside_itself(page: str) -> None:
    addresses = re.findall(r'(?:src|srcset|href|action)="([^"]*)"', page)
    assert addresses
    assert all(address.startswith("data:image/") for address in addresses)
    assert "<script" not in page
    assert "@import" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_no_account_is_named(page: str, out: Path) -> None:
    everything = page + (out / "summary.json").read_text()
    assert not any(account in everything for account in ACCOUNTS)
    assert not re.search(r"\b\d{1,3}(\.\d{1,3}){3}\b", re.sub(r"base64,[^\"]+", "", everything))
    assert "sk-" not in re.sub(r"base64,[^\"]+", "", everything)


def test_names_are_text_and_never_markup(page: str) -> None:
    assert html.escape(CAMPAIGN) in page.replace("&#34;", "&quot;")
    assert "<of>" not in page


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images_without_text = 0
        self.tables = 0
        self.headers_without_scope = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.images_without_text += tag == "img" and not given.get("alt")
        self.headers_without_scope += tag == "th" and given.get("scope") not in ("row", "col")
        self.tables += tag == "table"
        if tag not in ("img", "source", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag


def test_every_plot_has_words_and_every_table_cell_its_header(page: str) -> None:
    outline = _Outline()
    outline.feed(page)
    assert outline.open == []
    assert outline.images_without_text == 0
    assert outline.headers_without_scope == 0
    assert outline.tables >= 7


def test_the_sentences_say_what_happened(page: str) -> None:
    assert "limits only: 100% of 160 exchanges served; not contained" in page
    assert "linked: 15% of 160 exchanges served; contained after 5 hours" in page
    assert "MISSED" in page


def test_plots_and_numbers_lie_beside_the_page(out: Path) -> None:
    names = {path.name for path in out.iterdir()}
    pictures = {"served-01.png", "served-shares.png", "touched-innocents.png", "latency.png"}
    assert names == {"report.html", "summary.json", *pictures}
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    found = orjson.loads((out / "summary.json").read_bytes())
    assert [run["name"] for run in found["runs"]] == ["limits only", "linked"]
    assert found["runs"][1]["campaigns"][0]["served"]["share"] == 0.15
    assert found["runs"][1]["latency"] == LATENCY


def test_the_same_runs_give_the_same_page(out: Path, page: str) -> None:
    folder = out.parent
    again = CliRunner().invoke(
        main,
        [
            *("report", "--run", f"limits only={folder / 'base'}"),
            *("--run", f"linked={folder / 'linked'}"),
            *("--labels", str(folder / "labels.jsonl"), "--out", str(folder / "again"), "--json"),
        ],
    )
    assert again.exit_code == 0
    assert orjson.loads(again.stdout)["runs"][0]["exchanges"] == 480
    assert (folder / "again" / "report.html").read_text(encoding="utf-8") == page


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "–"),
        (0.0, "0%"),
        (1.0, "100%"),
        (0.00004, "0.004%"),
        (0.0123, "1.23%"),
        (0.5, "50%"),
        (0.99996, "> 99.9%"),
        (1e-8, "< 0.0001%"),
    ],
)
def test_shares_are_written_so_that_small_ones_can_be_read(share: float | None, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(7200, "2 h"), (5400, "90 min"), (90, "90 s"), (0, "0 h")]
)
def test_lengths_of_time_are_whole_numbers(seconds: int, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--run", "nameless"], "write NAME=DIR"),
        (["--run", "it={folder}"], "no decisions.jsonl.gz in it"),
        ([f"--run=r{i}={{folder}}/base" for i in range(6)], "between 1 and 5 runs"),
        (["--run=a={folder}/base", "--run=a={folder}/base"], "needs a name of its own"),
    ],
    ids=["nameless", "no run", "too many", "one name twice"],
)
def test_wrong_use_says_what_to_do(out: Path, arguments: list[str], says: str) -> None:
    folder = out.parent
    given = [argument.format(folder=folder) for argument in arguments]
    labels = str(folder / "labels.jsonl")
    result = CliRunner().invoke(main, ["report", *given, "--labels", labels, "--out", str(out)])
    assert result.exit_code == 2
    assert says in result.output


chromium = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    chromium is None, reason="needs a browser: apt-get install chromium"
)

# The page inside a frame of a given width; what it measures is written into the outer document.
FRAME = """<!doctype html><body>
<iframe id="f" style="width:{width}px;height:900px;border:0"></iframe>
<script>
const frame = document.getElementById("f");
frame.srcdoc = {page};
frame.onload = () => {{
  const inner = frame.contentDocument, root = inner.documentElement;
  const images = [...inner.images];
  document.title = JSON.stringify({{
    width: root.scrollWidth,
    drawn: images.filter(image => image.complete && image.naturalWidth > 0).length,
    images: images.length,
    narrow: images.filter(image => image.naturalWidth < 500).length,
    heading: inner.querySelector("h1").textContent,
  }});
}};
</script>"""


@needs_chromium
@pytest.mark.parametrize("width", [320, 1280])
def test_a_browser_draws_every_plot_and_scrolls_nowhere_sideways(
    page: str, tmp_path: Path, width: int
) -> None:
    assert chromium is not None
    quoted = orjson.dumps(page).decode().replace("</", "<\\/")
    (tmp_path / "frame.html").write_text(FRAME.format(width=width, page=quoted), encoding="utf-8")
    shown = subprocess.run(
        [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000"),
            *("--dump-dom", (tmp_path / "frame.html").as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    title = re.search(r"<title>(.*?)</title>", shown)
    assert title is not None, shown[-2000:]
    found = orjson.loads(html.unescape(title.group(1)))
    assert found["heading"] == "What campaigns got, and whom it cost"
    assert found["width"] <= width
    assert found["drawn"] == found["images"] == 4
    assert found["narrow"] == (found["images"] if width == 320 else 0)
