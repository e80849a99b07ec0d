"""The pages on metrics and on the decision log say what the code does."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import orjson

from gateway.model import RequestFacts, Status, Subject
from gateway.observe.log_line import VERSION, LineEncoder
from gateway.observe.metrics import TABLE
from gateway.observe.reference import LABELS, NOT_YET
from gateway.settings import LogConfig

from .test_log import KEYED, SUBJECT, Fixed, a_line, an_exchange

ROOT = Path(__file__).parents[2]
CODE = ROOT / "gateway"
PAGE = (ROOT / "docs" / "reference" / "decision-log.md").read_text()


def rows(block: str) -> dict[str, str]:
    """First cell → second, of the table behind `<!-- block -->`."""
    found = re.search(rf"<!-- {block} -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert found is not None, block
    lines = re.findall(r"^\| `(\w+)` \| (.*) \|$", found[1], re.MULTILINE)
    assert len(lines) == len({name for name, _ in lines}), "a field comes twice"
    return dict(lines)


def full_subject() -> Subject:
    """An account of which everything is known."""
    unknown = {f.name: "x" for f in fields(Subject) if not getattr(SUBJECT, f.name)}
    return replace(SUBJECT, **unknown, status=Status.BANNED)  # type: ignore[arg-type]


def test_every_field_of_a_line_is_on_the_page_and_no_other() -> None:
    assert rows("fields: line").keys() == a_line(an_exchange()).keys()
    assert f"Format {VERSION}," in PAGE


def test_every_fact_is_on_the_page_and_no_other() -> None:
    assert rows("fields: facts").keys() == {f.name for f in fields(RequestFacts)}


def test_every_field_of_an_account_is_on_the_page_and_no_other() -> None:
    exchange = an_exchange()
    known = replace(exchange, decision=replace(exchange.decision, subject=full_subject()))
    line = orjson.loads(LineEncoder(KEYED).encode(known, Fixed().current))
    assert rows("fields: subject").keys() == line["subject"].keys()


def test_every_list_has_a_name_for_each_of_its_entries() -> None:
    line = a_line(an_exchange())
    first = {name: line[name][0] for name in ("findings", "charges", "results")}  # type: ignore[index]
    first |= {"usage": line["usage"], "grants": line["subject"]["grants"][0]}  # type: ignore[index]
    described = {
        name: len(re.sub(r"\([^)]*\)", "", text).partition(";")[0].split(","))
        for name, text in rows("lists").items()
    }
    assert described == {name: len(entries) for name, entries in first.items()}


def test_the_page_names_every_setting_of_the_log_and_its_default() -> None:
    plain = LogConfig()
    said = {
        "dir": "by default `log/`",
        "max_bytes": f"({plain.max_bytes // 2**20} MiB)",
        "max_age_s": "(one hour)",
        "keep": f"({plain.keep})",
    }
    assert said.keys() == LogConfig.model_fields.keys()
    assert plain.max_age_s == 3600
    for name, default in said.items():
        assert re.search(rf"`log\.{name}`,? {re.escape(default)}", PAGE), name


def test_every_label_is_explained() -> None:
    assert {label for one in TABLE for label in one.labels} == LABELS.keys()


def test_what_is_said_to_have_no_series_is_what_nothing_counts() -> None:
    sources = [path for path in CODE.rglob("*.py") if path != CODE / "observe" / "reference.py"]
    code = "".join(path.read_text() for path in sources)
    declared_only = {one.name for one in TABLE if code.count(f'"{one.name}"') == 1}
    assert declared_only == NOT_YET
