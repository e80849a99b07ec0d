"""The accounts file, record by record. Stricter than `serve`, which starts with what is usable: who
asks before a roll-out can still mend the file."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from ..core.keyed import KeyedHash
from ..settings import Settings
from ..workers.account_import import ImportReport, read_changes
from ..workers.account_records import RecordReader
from ..workers.replay import REPLAY_SECRET
from ..workers.traffic import MAX_BAD_SHARE
from .finding import Finding, bad, ok, warning

TOPIC = "accounts"
FIX = "repair the records: their accounts and keys are not imported"
MAX_SHOWN = 3


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    file = settings.accounts
    if file is None or not os.access(file, os.R_OK):
        return
    if not file.is_file():  # a named pipe can be read but once
        return
    report = ImportReport()
    # Nothing is kept of what is hashed here, so that the secret need not be there yet.
    for _ in read_changes(file, RecordReader(KeyedHash(REPLAY_SECRET)), report):
        pass
    yield _finding(f"{file}: ", report)


def _finding(where: str, report: ImportReport) -> Finding:
    shown = "; ".join(map(str, report.problems[:MAX_SHOWN]))
    total = report.bad + report.usable
    if total == 0:
        return warning(TOPIC, f"{where}names nobody", "name the file that has your accounts")
    if report.is_all_bad:
        return bad(TOPIC, f"{where}none of {total} records can be used: {shown}", FIX)
    if report.bad:
        said = f"{where}{report.bad} of {total} records cannot be used: {shown}"
        return (bad if report.bad > MAX_BAD_SHARE * total else warning)(TOPIC, said, FIX)
    if report.problems:
        return warning(TOPIC, f"{where}{shown}", "repair the names, or ignore this")
    return ok(TOPIC, f"{where}{total} records can be used")
