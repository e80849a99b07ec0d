"""How commands talk to a running gateway: the admin API, with the token it wrote down."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
import orjson

from ..errors import BadLinesError, HydragateError, Problem, UsageError

DEFAULT_ADMIN = "http://127.0.0.1:9090"
DEFAULT_TOKEN_FILE = Path(".hydragate") / "admin-token"
TIMEOUT_S = 60.0
F = TypeVar("F", bound=Callable[..., Any])


class AdminError(HydragateError):
    """The admin API refused or could not be reached. `said` is its answer, where it gave one."""

    def __init__(self, message: str, said: Any = None) -> None:
        super().__init__(message)
        self.said = said


@dataclass(frozen=True, slots=True)
class AdminClient:
    url: str
    token: str

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> Any:
        """The JSON answer. Raises AdminError with what the gateway said."""
        request = urllib.request.Request(  # noqa: S310 - the operator's own URL
            self.url.rstrip("/") + path,
            data=body,
            method=method,
            headers={"authorization": f"Bearer {self.token}", "content-type": content_type},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise _refusal(error) from None
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise AdminError(
                f"no gateway answers at {self.url}: {reason} (is it running? see --admin)"
            ) from None
        return orjson.loads(text) if text else None


def _refusal(error: urllib.error.HTTPError) -> AdminError:
    text = error.read(1_000_000)
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        return AdminError(f"the gateway answered {error.code}")
    if isinstance(said, dict) and said.get("problems"):
        return AdminError("\n".join(map(str, said["problems"])), said)
    detail = said.get("detail", said) if isinstance(said, dict) else said
    return AdminError(f"the gateway answered {error.code}: {detail}", said)


def read_json_lines(file: Path) -> list[tuple[int, dict[str, Any]]]:
    """(line number, object) of what `export` printed, blank lines left out. Raises BadLinesError
    with every line that is none."""
    found, problems = [], []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            problems.append(Problem(str(file), number, "", f"is no JSON: {error}"))
            continue
        if isinstance(record, dict):
            found.append((number, record))
        else:
            problems.append(Problem(str(file), number, "", "must be an object, as export prints"))
    if problems:
        raise BadLinesError(problems)
    return found


def admin_options(command: F) -> F:
    """`--admin` and `--token-file`, shared by every command that needs a running gateway."""
    command = click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        default=DEFAULT_TOKEN_FILE,
        show_default=True,
        help="Where the gateway keeps its admin token (or set HYDRAGATE_ADMIN_TOKEN).",
    )(command)
    return click.option(
        "--admin", default=DEFAULT_ADMIN, show_default=True, help="The gateway's admin port."
    )(command)


def connect(admin: str, token_file: Path) -> AdminClient:
    """Raises UsageError for an address that is none, and when there is no token to be found."""
    if not _is_http(admin):
        raise UsageError(f"--admin: '{admin}' is no http(s) URL, such as {DEFAULT_ADMIN}")
    token = os.environ.get("HYDRAGATE_ADMIN_TOKEN")
    if token is None:
        try:
            token = token_file.read_text().strip()
        except OSError as error:
            raise UsageError(
                f"{token_file}: no admin token there ({error.strerror}); "
                "use --token-file or HYDRAGATE_ADMIN_TOKEN"
            ) from None
    return AdminClient(admin, token)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # Reading the port raises for one that is no number.
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
