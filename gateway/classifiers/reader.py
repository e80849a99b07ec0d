"""Scores a request where somebody wants them: what a surface calls, live and in replay alike.

Law: a body that cannot be scored costs nobody an answer; it has no scores, and is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..model import Policy, TaskReading
from .account import score_account
from .body import Body
from .model import LinearModel
from .request import TaskClassifier, TaskFeatures

TASK = "task"  # what signals that need scores say
ACCOUNT = "account"  # of the account as well, whose window counts tasks
WORKSPACE = "workspace"  # of its window, with the workspaces that texts name
WANTED = frozenset({TASK, ACCOUNT, WORKSPACE})


class ModelSource(Protocol):
    @property
    def current(self) -> LinearModel:
        """The model in force; a request keeps the one it was scored by."""
        ...

    @property
    def accounts(self) -> LinearModel:
        """The one that scores accounts by what they did of late."""
        ...


class TaskReader:
    """One per process. With `always` every request is scored, for account windows and the log;
    else those under a policy that names a score. `failures` counts bodies that broke it;
    `complain` is handed each error, and must raise none."""

    def __init__(
        self,
        models: ModelSource,
        *,
        always: bool = False,
        complain: Callable[[Exception], None] | None = None,
    ) -> None:
        self.features = TaskFeatures()
        self.failures = 0
        self.always = always
        self._complain = complain
        self._models = models
        self._classifier = TaskClassifier(models.current)
        self._policy: Policy | None = None
        self._is_wanted = always

    @property
    def version(self) -> str:
        """Of the model in force."""
        return self._models.current.version

    def score_account(self, window: bytes | None, now_s: int) -> float | None:
        """See `account.score_account`."""
        return score_account(self._models.accounts, window, now_s)

    def read(self, policy: Policy, body: Body, caller: str | None) -> TaskReading | None:
        """None where nobody wants scores, or there is no text. `caller` is the credential."""
        if policy is not self._policy:
            self._policy = policy
            self._is_wanted = self.always or not WANTED.isdisjoint(policy.needs)
        if not self._is_wanted:
            return None
        try:
            found = self.features.read(body, caller)
        # Whatever it is: what is foreseen (half characters, bad JSON, deep nesting) is dealt with
        # where it is read, so what comes here is a mistake of ours, which no caller should feel.
        except Exception as error:
            self.failures += 1
            if self._complain is not None:
                self._complain(error)
            return None
        if found is None:
            return None
        if self._classifier.model is not self._models.current:
            self._classifier = TaskClassifier(self._models.current)
        reading = self._classifier.read(found[0])
        if found[1]:
            return TaskReading(reading.version, reading.features, reading.scores, found[1])
        return reading
