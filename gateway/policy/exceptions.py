"""Whom a rule passes over for a while: an organization or an account, with reason and end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

from ..model import Predicate
from .conditions import ConditionCompiler
from .schema import RawException
from .source import Place, Report, shown


def compile_exceptions(
    raws: Sequence[RawException] | None,
    conditions: ConditionCompiler,
    place: Place,
    report: Report,
) -> Predicate | None:
    """Whether an exception covers the request, on its own time; None without any."""
    if not raws:
        return None
    whom = [_when(raw, place / "exceptions" / number, report) for number, raw in enumerate(raws)]
    known = [one for one in whom if one is not None]
    if not known:
        return None
    compiled = conditions.compile({"any": known}, place / "exceptions", on_unknown=False)
    return None if compiled is None else compiled.predicate


def _when(raw: RawException, place: Place, report: Report) -> dict[str, object] | None:
    """The exception as a condition; None when the report says what is wrong."""
    named = {"org_id": raw.org_id, "account_id": raw.account_id}
    said = {name: value for name, value in named.items() if value is not None}
    if len(said) != 1:
        report.error(place, "must name one org_id or one account_id")
        return None
    try:
        end = date.fromisoformat(raw.until)
    except ValueError:
        report.error(place / "until", f"{shown(raw.until)} is no date")
        return None
    report.note_due(place / "until", end, "is past: take the exception out, or renew it")
    end_s = int(datetime(end.year, end.month, end.day, tzinfo=UTC).timestamp())
    ((name, value),) = said.items()
    unknown = {} if name == "account_id" else {"on_unknown": "no_match"}
    return {"all": [{name: {"eq": value, **unknown}}, {"received_s": {"lt": end_s}}]}
