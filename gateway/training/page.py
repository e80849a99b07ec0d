"""The training report as one page: curves, calibration, tables by class and language, weights.

Self-contained, without scripts; drawn by hand as SVG because two kinds of line need no library.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from ..classifiers.model import LinearModel
from ..classifiers.tasks import TASK_WORDS

SIZE = 180
_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.15rem .6rem;"
    "text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}"
    "svg{margin-right:1.5rem}path{fill:none;stroke:#1f5fa8;stroke-width:2}"
    ".even{stroke:#bbb;stroke-width:1}rect{fill:none;stroke:#888}"
)


def render(report: dict[str, Any], model: LinearModel) -> str:
    """HTML of a `train` report."""
    about = report["about"]
    parts = [
        f"<!doctype html><meta charset=utf-8><title>Request classifier {model.version}</title>",
        f"<style>{_STYLE}</style><h1>Request classifier {model.version}</h1>",
        f"<p>{escape(str(about.get('note', '')))} Trained on {escape(str(about['trained_on']))}: "
        f"{report['rows']:,} requests in {report['groups']:,} groups. All figures are of requests "
        f"whose operators and template sources were held out, in {report['folds']} folds.</p>",
        _overview(report),
    ]
    for task, found in report["tasks"].items():
        parts.append(_task(task, found, model))
    return "\n".join(parts) + "\n"


def _overview(report: dict[str, Any]) -> str:
    rows = [
        (
            task,
            found["positives"],
            found.get("auc"),
            found.get("average_precision"),
            found["threshold"],
            found.get("precision"),
            found.get("recall"),
        )
        for task, found in report["tasks"].items()
    ]
    heads = ("task", "requests", "AUC", "average precision", "threshold at 0.1 % false positives")
    return _table((*heads, "precision there", "recall there"), rows)


def _task(task: str, found: dict[str, Any], model: LinearModel) -> str:
    points = [(mean, share) for mean, share, _ in found["calibration"]]
    weights = sorted(
        (
            (feature.name, feature.words, round(column[model.heads.index(task)], 2))
            for feature, column in zip(model.features.features, model.columns, strict=True)
        ),
        key=lambda one: -abs(one[2]),
    )
    return "".join(
        (
            f"<h2>{task}</h2><p>{escape(TASK_WORDS[task])}</p>",
            _plot("precision over recall", found["curve"], diagonal=False),
            _plot("share that was right, over score", points, diagonal=True),
            _names("class", found["by_class"]),
            _names("language", found["by_language"]),
            _table(("feature", "says that it", "weight"), weights[:12]),
        )
    )


def _names(what: str, found: dict[str, dict[str, Any]]) -> str:
    rows = [
        (name, one["rows"], one["recall"], one["false_positive_rate"], one["mean"])
        for name, one in found.items()
    ]
    return _table((what, "requests", "recall", "false positive rate", "mean score"), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(head)}" for head in heads)]
    for row in rows:
        cells = ("–" if value is None else escape(str(value)) for value in row)
        lines.append("<tr>" + "".join(f"<td>{cell}" for cell in cells))
    return "<table>" + "\n".join(lines) + "</table>"


def _plot(title: str, points: Sequence[Sequence[float]], *, diagonal: bool) -> str:
    """Both axes 0..1."""
    line = " L".join(f"{x * SIZE:.1f} {(1 - y) * SIZE:.1f}" for x, y in points)
    even = f'<path class=even d="M0 {SIZE} L{SIZE} 0"/>' if diagonal else ""
    return (
        f'<svg width={SIZE + 2} height={SIZE + 2} viewBox="-1 -1 {SIZE + 2} {SIZE + 2}" role=img>'
        f"<title>{escape(title)}</title><rect width={SIZE} height={SIZE} />{even}"
        f'<path d="M{line}"/></svg>'
    )
