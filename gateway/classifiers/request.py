"""A request as features, and its features as scores.

What is the same again costs a look-up: texts are kept by their ends (`wording`), scores by their
features. Nothing here depends on anything but the body, the caller's own latest requests and the
model, so a replay of the same lines gives the same scores.
"""

from __future__ import annotations

from zlib import crc32

from ..model import TASKS, TaskReading
from . import recurrence, structure, wording
from .body import Body, Parts, parts_of
from .model import Contribution, FeatureSet, LinearModel, ModelError, read_model
from .packed import PackedSum
from .recurrence import Recurrence
from .wording import Wording

FEATURES = FeatureSet("request/3", (*structure.FEATURES, *wording.FEATURES, *recurrence.FEATURES))
SHAPES = frozenset({"chat", "responses", "messages", "completions", "batch"})
MAX_READINGS = 16_384
MAX_TOOLS_BYTES = 4_096  # of the tools' schemas tell templates apart
_VALUES = tuple([level / structure.FULL for level in range(structure.FULL + 1)])
_DIGITS = bytes.maketrans(bytes(range(10)), b"0123456789")


def read_task_model(raw: bytes, where: str) -> LinearModel:
    """A model that scores all `TASKS` by the features of requests. Raises ModelError."""
    model = read_model(raw, FEATURES, where)
    if set(model.heads) != set(TASKS):
        odd = ", ".join(sorted(set(model.heads) ^ set(TASKS)))
        raise ModelError(f"{where}: heads: must be the tasks of this version; differs in: {odd}")
    return model


class TaskFeatures:
    """Turns bodies into features. One per process: it remembers texts and callers."""

    def __init__(self) -> None:
        self.recurrence = Recurrence()
        self._wording = Wording()

    def levels(self, body: Body, caller: str | None) -> bytes | None:
        """0..9 for each of `FEATURES`, see `read`."""
        found = self.read(body, caller)
        return None if found is None else found[0]

    def read(self, body: Body, caller: str | None) -> tuple[bytes, int] | None:
        """0..9 for each of `FEATURES`, and the workspace (0: none named); None where there is no
        text to go by. `caller` is the credential's keyed hash; the request counts as one of its
        latest from now on."""
        if body.shape not in SHAPES:
            return None
        parts = parts_of(body)
        if not parts.question and not parts.system:
            return None
        system = self._wording.system(parts.system)
        question = self._wording.question(parts.question)
        latest = self._wording.question(parts.latest) if parts.latest else self._wording.nothing
        repeats = self.recurrence.levels(
            caller,
            _template(body, system.head, parts),
            (latest if parts.latest else question).head,
        )
        levels = (
            structure.levels(body, parts, system.letters, question.letters)
            + wording.levels(system, question, latest)
            + repeats
        )
        return levels, system.workspace or latest.workspace or question.workspace


class TaskClassifier:
    """Scores by one model; what came out is kept by its features."""

    def __init__(self, model: LinearModel) -> None:
        self.model = model
        self._sum = PackedSum(model, TASKS)
        self._readings: dict[bytes, TaskReading] = {}

    def read(self, levels: bytes) -> TaskReading:
        found = self._readings.get(levels)
        if found is None:
            if len(self._readings) >= MAX_READINGS:
                self._readings.clear()
            found = self._readings[levels] = self._score(levels)
        return found

    def _score(self, levels: bytes) -> TaskReading:
        digits = levels.translate(_DIGITS).decode()
        return TaskReading(self.model.version, digits, self._sum.scores(levels))


def values_of(features: str) -> list[float]:
    """The values that the digits of a `TaskReading` stand for. Raises ValueError for others."""
    return [_VALUES[int(digit)] for digit in features]


def explain(
    model: LinearModel, reading: TaskReading, task: str, *, most: int = 5
) -> tuple[Contribution, ...]:
    """Why that score. Raises ModelError where the reading is of another model."""
    if model.version != reading.version:
        raise ModelError(f"scored by model {reading.version}; this is {model.version}")
    return model.contributions(task, values_of(reading.features), most=most)


def _template(body: Body, system: int, parts: Parts) -> int:
    """A hash of system prompt and tools; 0 where there is neither."""
    tools = body.members.get("tools")
    if tools is None:
        return system if parts.system else 0
    return crc32(memoryview(tools)[:MAX_TOOLS_BYTES], system) or 1
