"""The whole error tree. A refusal is never here: refusals are values (`model.Decision`)."""

from __future__ import annotations

from dataclasses import dataclass


class HydragateError(Exception):
    """Root of every error that this package raises on purpose."""


class UsageError(HydragateError):
    """A setting or argument is wrong: the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about a file: `file:line: path: message`, as CONTRACTS §1 prints it.

    A warning says so before its message; it keeps nothing from being used.
    """

    file: str
    line: int
    path: str
    message: str
    is_warning: bool = False

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        message = f"warning: {self.message}" if self.is_warning else self.message
        return f"{where}: {self.path}: {message}" if self.path else f"{where}: {message}"


class PolicyError(HydragateError):
    """A policy cannot be used; `problems` holds every finding, in file order."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)) or "the policy is unusable")
        self.problems = problems


class BadLinesError(HydragateError):
    """A file that was to be taken over has bad lines; `problems` holds them, in file order."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class StoreError(HydragateError):
    """The state store did not answer, or not in time.

    `kind` is one of `timeout`, `unreachable`, `overloaded` (too much is in flight to it),
    `refused` (it answered with an error), `conflict` (the account changed while it was being
    written), a closed set fit for a metric label.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"store {kind}: {detail}")
        self.kind = kind
        self.detail = detail


class StoreMismatchError(HydragateError):
    """This store must not be used: wrong secret, evicting `maxmemory-policy`, unknown layout."""


class EvictingStoreError(StoreMismatchError):
    """It would drop what must be kept, whoever filled it."""


class CursorError(HydragateError):
    """A listing cannot go on where the caller says: the message says what to do."""


class UpstreamError(HydragateError):
    """The model API could not be reached or broke off.

    `kind` is one of `connect_failed`, `connect_timeout`, `pool_exhausted`, `tls_failed`,
    `write_timeout`, `header_timeout`, `read_timeout`, `reset`, `protocol_error`. `sent` tells
    whether any byte of the request had been written: only an unsent one may be tried again.
    """

    def __init__(self, kind: str, detail: str, *, sent: bool) -> None:
        super().__init__(f"upstream {kind}: {detail}")
        self.kind = kind
        self.sent = sent


class RequestError(HydragateError):
    """The request cannot be read, and nothing of it reaches the upstream.

    `status` is 400, 401 or 413; `reason` a stable snake_case code; the message is shown to
    the caller, so it never repeats a credential or the body.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
