"""`python -m hydragate.loadtests.rolling_upgrade --old PYTHON`: two versions on one store, alive.

PYTHON is the interpreter of a venv that holds the version to upgrade from; this one is upgraded
to. Both serve at once, then the old one drains, while callers never rest. Printed and judged: calls
that failed, limits over what they allow, orders given through one version and not obeyed by the
other, records that either could not read. Exit code 1 when anything is.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import click

from ..stores.embedded import EmbeddedStore
from .processes import PACKAGE, ServerProcess, standin

CALLERS = 4
QUOTA, BURST = 120, 20  # a minute; of the limited account
MISREAD = ("cannot be read", "Traceback", "is damaged", "layout")
KEYS = {"acc_free": "sk-free-0123456789", "acc_tight": "sk-tight-0123456789"}
POLICY = f"""
version: 1
name: rolling
mode: enforce
unknown_credentials: refuse
on_store_error: deny
limits:
  - name: account-requests
    why: both versions must count into the same budget
    by: account
    quota: 60000/min
    burst: 60000
    cost: requests
    on_store_error: deny
  - name: tight-requests
    why: both versions must count into the same budget
    by: account
    when: {{tier: tight}}
    on_unknown: no_match
    quota: {QUOTA}/min
    burst: {BURST}
    cost: requests
    on_store_error: deny
"""


class Callers:
    """Threads that never rest: from one gateway to the next, as a balancer would send them."""

    def __init__(self, account: str, count: int, pause_s: float) -> None:
        self.statuses: Counter[str] = Counter()
        self.urls: list[str] = []
        self._account, self._count, self._pause_s = account, count, pause_s
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._ending.clear()
        self._threads = [threading.Thread(target=self._run) for _ in range(self._count)]
        for one in self._threads:
            one.start()

    def stop(self) -> None:
        self._ending.set()
        for one in self._threads:
            one.join()

    def _run(self) -> None:
        number = 0
        while not self._ending.wait(self._pause_s):
            number += 1
            try:
                said: object = _chat(self.urls[number % len(self.urls)], self._account)
            except OSError as error:
                said = type(error).__name__
            self.statuses[str(said)] += 1


class Version(ServerProcess):
    """A gateway of one version on the common store."""

    def __init__(self, python: str, package: str, folder: Path, name: str, *options: str) -> None:
        self.data = folder / name
        super().__init__(
            [
                *(python, "-m", f"{package}.cli", "serve", "--port", "0", "--admin-port", "0"),
                *("--data-dir", str(self.data), *options),
            ]
        )
        urls = self.wait_ready("hydragate ready")
        self.url, self.admin = urls[0], urls[-1]

    def order(self, method: str, path: str, body: object | None = None) -> Any:
        token = (self.data / "admin-token").read_text().strip()
        return _ask(self.admin + path, method, body, token)[1]

    def misread(self) -> list[str]:
        return [line.strip() for line in self.output if any(word in line for word in MISREAD)]


def _ask(url: str, method: str, body: object | None, token: str) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _chat(url: str, account: str) -> int:
    body = {"model": "small", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}
    return _ask(f"{url}/v1/chat/completions", "POST", body, KEYS[account])[0]


def _obeyed(giver: Version, other: Version, name: str) -> list[str]:
    """A ban given through one version holds on the other's next request, and its end too."""
    problems = []
    for status, wanted in (("banned", 403), ("active", 200)):
        giver.order("PATCH", "/api/accounts/acc_free", {"status": status})
        got = _chat(other.url, "acc_free")
        if got != wanted:
            problems.append(f"{name}: {status} and then {got}")
    giver.order("PUT", "/api/mode", {"mode": "shadow-all"})
    if other.order("GET", "/api/mode")["mode"] != "shadow-all":
        problems.append(f"{name}: the kill switch is not seen")
    giver.order("PUT", "/api/mode", {"mode": "normal"})
    return problems


async def _roll(old_python: str, old_package: str, folder: Path, seconds: float) -> list[str]:
    _write_inputs(folder)
    async with EmbeddedStore(folder / "store") as store:
        with standin("--time-scale", "0") as upstream:
            common = (
                *("--store", store, "--secret-file", str(folder / "secret")),
                *("--upstream", upstream, "--policy", str(folder / "policy")),
                *("--config", str(folder / "config.yaml")),
            )
            accounts = ("--accounts", str(folder / "accounts.jsonl"))
            old = Version(old_python, old_package, folder, "old", *common, *accounts)
            try:
                return await asyncio.to_thread(_upgrade, old, folder, common, seconds)
            finally:
                old.stop()


def _write_inputs(folder: Path) -> None:
    (folder / "policy").mkdir()
    (folder / "policy" / "policy.yaml").write_text(POLICY)
    records = [
        {"account_id": account, "tier": account.removeprefix("acc_"), "keys": [key]}
        for account, key in KEYS.items()
    ]
    (folder / "accounts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    # A busy machine is not what is tried here: late is not lost.
    (folder / "config.yaml").write_text("store_timeout_s: 1.0\n")
    (folder / "secret").write_text("the secret of a rolling upgrade on a loopback")
    (folder / "secret").chmod(0o600)


def _upgrade(old: Version, folder: Path, common: tuple[str, ...], seconds: float) -> list[str]:
    free, tight = Callers("acc_free", CALLERS, 0.02), Callers("acc_tight", 1, 0.05)
    free.urls = tight.urls = [old.url]
    started_s = time.monotonic()
    free.start()
    tight.start()
    try:
        new = Version(sys.executable, PACKAGE, folder, "new", *common)
        try:
            problems = _stages(old, new, free, tight, seconds)
            problems += _judged(free, tight, time.monotonic() - started_s)
        finally:
            new.stop()
    finally:
        free.stop()
        tight.stop()
    return problems + old.misread() + new.misread()


def _stages(old: Version, new: Version, free: Callers, tight: Callers, seconds: float) -> list[str]:
    """Both at once; orders both ways; the old one out of the balancer, then drained."""
    free.urls = tight.urls = [old.url, new.url]
    time.sleep(seconds)
    for one in (free, tight):  # a ban is no failed call, and the kill switch no over-admission
        one.stop()
    problems = _obeyed(old, new, "old → new") + _obeyed(new, old, "new → old")
    for one in (free, tight):
        one.start()
    time.sleep(seconds)
    free.urls = tight.urls = [new.url]
    time.sleep(1.0)
    code = old.stop()
    problems += [] if code == 0 else [f"the old version ended with {code}"]
    time.sleep(seconds)
    if "clusters" not in new.order("GET", "/api/clusters"):
        problems.append("no linker of the new version took over")
    free.stop()
    tight.stop()
    return problems


def _judged(free: Callers, tight: Callers, took_s: float) -> list[str]:
    most, served = QUOTA * took_s / 60 + BURST, tight.statuses["200"]
    click.echo(f"{took_s:.0f} s; calls by answer: {dict(free.statuses)}, {dict(tight.statuses)}")
    click.echo(f"limit over both versions: {served} served of at most {most:.0f}")
    failed = {said: count for said, count in free.statuses.items() if said != "200"}
    failed |= {said: n for said, n in tight.statuses.items() if said not in ("200", "429")}
    problems = [f"failed calls: {failed}"] if failed else []
    return problems + ([f"over-admitted by {served - most:.0f}"] if served > most + 1 else [])


@click.command()
@click.option("--old", required=True, help="Python of the version to upgrade from.")
@click.option("--old-package", default="hydragate", show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="Of each stage.")
def main(old: str, old_package: str, seconds: float) -> None:
    """Upgrade a gateway under load, and say what was lost."""
    with tempfile.TemporaryDirectory(prefix="hg") as folder:
        problems = asyncio.run(_roll(old, old_package, Path(folder), seconds))
    for problem in problems:
        click.echo(problem, err=True)
    click.echo("nothing was lost or misread" if not problems else f"{len(problems)} problems")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
