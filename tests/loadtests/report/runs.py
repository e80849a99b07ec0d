"""Small runs on disk, as a replay leaves them."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

START_S = 1_776_643_200.0


@dataclass(frozen=True, slots=True)
class Line:
    """One exchange `hour` hours after the start."""

    account: str
    hour: float = 0.0
    verdict: str = "allow"
    would_be: str | None = None
    reason: str = "account-requests"

    def as_json(self) -> dict[str, Any]:
        return {
            "ts": START_S + 3600 * self.hour,
            "account_id": self.account,
            "verdict": self.verdict,
            "would_be": self.would_be or self.verdict,
            "served": self.verdict == "allow",
            "reason": "ok" if self.verdict == "allow" else self.reason,
            "findings": [],
            "cluster_id": None,
            "suspicion": None,
            "degraded": False,
        }


BAD_LINE: dict[str, Any] = {
    **dict.fromkeys(("ts", "account_id", "verdict", "would_be")),
    "served": False,
    "reason": "bad_line",
    "findings": [],
}


def write_run(
    folder: Path,
    lines: Iterable[Line | dict[str, Any]],
    *,
    clusters: Iterable[dict[str, Any]] = (),
    latency: dict[str, Any] | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / "decisions.jsonl.gz", "wb", 1) as file:
        for line in lines:
            record = line.as_json() if isinstance(line, Line) else line
            file.write(orjson.dumps(record) + b"\n")
    write_lines(folder / "clusters.jsonl", clusters)
    summary = {"policy": {"name": "baseline", "revision": "abc123"}, "exchanges_per_s": 20_000}
    (folder / "summary.json").write_bytes(orjson.dumps(summary))
    if latency is not None:
        (folder / "latency.json").write_bytes(orjson.dumps(latency))
    return folder


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return path


def label(account: str, campaign: str | None = None, class_: str = "ordinary") -> dict[str, Any]:
    return {"account_id": account, "campaign": campaign, "class": class_}
