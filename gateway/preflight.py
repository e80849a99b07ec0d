"""What a gateway cannot start on, found before it has any process; the doctor asks the same.

Law: what a worker would find out only by dying, again and again, is looked at here. Nothing is
made, and nobody is called.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import linking as linking  # registers the families that there are
from .app import build_targets, read_secret
from .errors import UsageError
from .linking.evidence import all_families
from .policy.hints import did_you_mean
from .settings import Settings, VerificationConfig
from .workers.verification_building import disposable_domains, smtp_of

MIN_SHARED_SECRET_BYTES = 8


@dataclass(frozen=True, slots=True)
class Fault:
    """A setting that keeps the gateway from starting, and what to do about it."""

    setting: str
    said: str
    fix: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.said}"


def check_start(settings: Settings) -> None:
    """Raises UsageError with a line for each setting that a start would fail on."""
    smtp = None if settings.verification is None else settings.verification.smtp
    found = [*faults(settings), *_refusal("upstreams", lambda: build_targets(settings))]
    if smtp is not None:
        found += _refusal("verification.smtp", lambda: smtp_of(smtp, read_shared_secret))
    if found:
        raise UsageError("\n".join(map(str, found)))


def faults(settings: Settings) -> Iterator[Fault]:
    """Whatever no topic of the doctor's looks at by itself."""
    yield from _folder("data_dir", settings.data_dir)
    if settings.log.dir is not None:
        yield from _folder("log.dir", settings.log.dir)
    if settings.accounts is not None:
        yield from _readable("accounts", settings.accounts)
    yield from _tls(settings)
    yield from _families(settings.linker.families or ())
    for name in ("key_file", "previous_key_file"):
        path: Path | None = getattr(settings.linker, name)
        if path is not None:
            yield from _refusal(f"linker.{name}", partial(read_secret, path, may_create=False))
    if settings.verification is not None:
        yield from _verification(settings.verification)


def first_existing(path: Path) -> Path:
    """The path, or the nearest folder above that there is: where it would be made."""
    path = path.absolute()
    # `Path.exists` raises where a folder above may not be searched; this says no.
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return path


def _folder(setting: str, folder: Path) -> Iterator[Fault]:
    there = first_existing(folder)
    if not there.is_dir():
        yield Fault(setting, f"{there} is a file, not a folder", f"name another {setting}")
    elif not os.access(there, os.W_OK | os.X_OK):
        fix = f"chown it, or name another {setting}"
        yield Fault(setting, f"{there} is not writable by this user", fix)


def _readable(setting: str, file: Path) -> Iterator[Fault]:
    """Asks without opening it: a named pipe can be read but once."""
    fix = "name a file that this user can read"
    if not os.path.exists(file):
        yield Fault(setting, f"{file}: no such file", fix)
    elif file.is_dir():
        yield Fault(setting, f"{file} is a folder, not a file", fix)
    elif not os.access(file, os.R_OK):
        yield Fault(setting, f"{file} cannot be read by this user", fix)


def _tls(settings: Settings) -> Iterator[Fault]:
    if settings.tls_cert is None or settings.tls_key is None:
        return
    unreadable = [
        *_readable("tls_cert", settings.tls_cert),
        *_readable("tls_key", settings.tls_key),
    ]
    if unreadable:
        yield from unreadable
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            settings.tls_cert, settings.tls_key, _no_password
        )
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        yield Fault(
            "tls_cert",
            f"{settings.tls_cert} and tls_key {settings.tls_key} cannot be used: {error}",
            "name a PEM chain, its own certificate first, and the key that belongs to it",
        )


def _no_password() -> str:
    raise ValueError("the key is encrypted; a gateway cannot ask for its password")


def _families(names: tuple[str, ...]) -> Iterator[Fault]:
    known = all_families()
    for name in names:
        if name not in known:
            said = f"'{name}' is no family of evidence{did_you_mean(name, known)}"
            yield Fault("linker.families", said, "see docs/linking.md for those there are")


def _verification(config: VerificationConfig) -> Iterator[Fault]:
    for number, provider in enumerate(config.providers):
        setting = f"verification.providers[{number}].secret_file"
        yield from _refusal(setting, partial(read_shared_secret, provider.secret_file))
    if config.directory is not None:
        setting = "verification.directory.secret_file"
        yield from _refusal(setting, partial(read_shared_secret, config.directory.secret_file))
    own = config.disposable_file
    yield from _refusal("verification.disposable_file", lambda: disposable_domains(own))


def read_shared_secret(path: Path) -> bytes:
    """One that somebody else has as well: a provider, a mail server. Raises UsageError."""
    return read_secret(path, may_create=False, least=MIN_SHARED_SECRET_BYTES)


def _refusal(setting: str, use: Callable[[], object]) -> Iterator[Fault]:
    try:
        use()
    except UsageError as error:
        yield Fault(setting, str(error), f"repair the file, or name another in {setting}")
