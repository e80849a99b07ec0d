"""A labelled traffic log as rows of features, computed as the gateway computes them.

    {"line": 17, "tasks": ["grading"], "operator": "op-3", "source": "rubric-v2",
     "class": "graders", "language": "de", "use": "train"}

`line` counts the traffic log's lines from 1 and `tasks` says what the request is for (none: for
nothing that has a name); the rest is optional. Without `operator` the account stands for it.
`source` is where the template comes from; `class` and `language` are for the report, and rows to
`evaluate` are never trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ..adapters.body import read_body
from ..adapters.routes import RouteTable
from ..classifiers.request import TaskFeatures
from ..errors import RequestError, UsageError
from ..model import TASKS
from ..policy.routes import BUILT_IN, OPTIONAL
from ..workers.feeds import FileFeed
from ..workers.traffic import LoggedRequest

MAX_ROWS = 2_000_000


class Label(msgspec.Struct):
    """One line of the labels."""

    line: int
    tasks: tuple[str, ...]
    operator: str = ""
    source: str = ""
    who: str = msgspec.field(default="", name="class")
    language: str = ""
    use: str = "train"


@dataclass(slots=True)
class Rows:
    """By row; `features` are levels of 0..9. `skipped` counts labelled lines without a text."""

    features: list[bytes] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    skipped: int = 0

    def column(self, name: str) -> list[str]:
        return [str(getattr(label, name)) for label in self.labels]


def read_rows(traffic: Path, labels: Path) -> Rows:
    """Raises UsageError that names the file and the line."""
    known = {label.line: label for label in _labels(labels)}
    rows, reader = Rows(), TaskFeatures()
    table = routes()
    decoder = msgspec.json.Decoder(LoggedRequest)
    for number, line in enumerate(FileFeed(traffic).lines(), 1):
        label = known.pop(number, None)
        if label is None:
            continue
        try:
            request = decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise UsageError(f"{traffic}:{number}: is no line of a traffic log: {error}") from None
        levels = levels_of(request, reader, table)
        if levels is None:
            rows.skipped += 1
            continue
        label.operator = label.operator or request.account_id
        rows.features.append(levels)
        rows.labels.append(label)
    if known:
        raise UsageError(f"{labels}: line {min(known)} is not in {traffic}")
    return rows


def _labels(path: Path) -> Iterator[Label]:
    decoder = msgspec.json.Decoder(Label)
    for number, line in enumerate(FileFeed(path).lines(), 1):
        if number > MAX_ROWS:
            raise UsageError(f"{path}: over {MAX_ROWS} labels")
        try:
            label = decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise UsageError(f"{path}:{number}: is no label: {error}") from None
        unknown = sorted(set(label.tasks) - set(TASKS))
        if unknown:
            raise UsageError(
                f"{path}:{number}: tasks: no such task: {', '.join(unknown)}; there are "
                f"{', '.join(TASKS)}"
            )
        yield label


def routes() -> RouteTable:
    """Every way in that a body can be read by."""
    return RouteTable((*BUILT_IN, *OPTIONAL))


def levels_of(request: LoggedRequest, reader: TaskFeatures, table: RouteTable) -> bytes | None:
    """The features of a logged request; None where it has no body with a text."""
    path = request.path.partition("?")[0]
    route = table.match(request.method, path.encode("latin-1", "replace"), path)
    if route is None or route.shape is None:
        return None
    try:
        body = read_body(bytes(request.body), route.shape)
    except RequestError:
        return None
    caller = f"{request.account_id}\n{request.key_id or '-'}"
    return reader.levels(body.item or body, caller)
