"""What linking costs: evidence per request, pairs per second, and how both grow with accounts.

    python -m hydragate.loadtests.bench_linking [--accounts 10000,100000,1000000] [--save DIR]

CPU time, each size in a process of its own; on shared machines compare within one run. `--save`
leaves the figures and the curve as a plot.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from ..core.keyed import KeyedHash
from ..linker_process import spare_the_collector
from ..linking.evidence import Extractor, Key, Sight
from ..linking.linker import Evidence, Linker
from ..linking.opening import read_opening
from ..model import SECOND_US, RequestFacts, Subject

NOW_US = 1_800_000_000 * SECOND_US
REQUESTS = 40_000
CAMPAIGN_SHARE = 0.02
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa")


def body(rng: random.Random) -> bytes:
    """About 1.5 KB; every request has a question of its own, every application its prompt."""
    app = rng.randrange(400)
    system = f"You are the assistant of application {app}. " + " ".join(
        _WORDS[(app * 7 + n * n) % len(_WORDS)] for n in range(60)
    )
    question = " ".join(rng.choices(_WORDS, k=150))
    return json.dumps(
        {
            "model": "stand-in",
            "temperature": 0.7,
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": question},
            ],
        }
    ).encode()


def extraction(accounts: int) -> dict[str, float]:
    """CPU microseconds a request, looked at or passed over, as they come."""
    rng = random.Random(1)
    extractor = Extractor(KeyedHash(b"a secret of the benchmark"))
    subjects = [Subject(f"acc_{n}", version=1, payment=f"card_{n}") for n in range(accounts)]
    facts = RequestFacts("d", NOW_US, "proxy", "POST", "/", None, "openai", client_network="n")
    work = [(rng.choice(subjects), body(rng)) for _ in range(REQUESTS)]
    pairs, looked_at, started = 0, 0, time.process_time()
    for subject, raw in work:
        if not extractor.wants(subject):
            extractor.pass_over(subject, NOW_US)
            continue
        looked_at += 1
        members = {name: memoryview(value) for name, value in _members.decode(raw).items()}
        sight = Sight(NOW_US, facts, subject, members, read_opening(members), (b"host",))
        pairs += len(extractor.new_keys(sight))
    spent_us = 1e6 * (time.process_time() - started)
    return {
        "accounts": accounts,
        "us_per_request": round(spent_us / REQUESTS, 2),
        "looked_at": round(looked_at / REQUESTS, 3),
        "pairs_per_request": round(pairs / REQUESTS, 2),
    }


def evidence(accounts: int) -> Iterator[Evidence]:
    """Customers with apps of their own or popular ones, and a pool of 2 % among them."""
    rng = random.Random(2)
    pool = int(accounts * CAMPAIGN_SHARE)
    for n in range(accounts):
        if n < pool:
            pairs = [
                ("system_prompt", "the pool's"),
                ("payment", f"pool {n // 12}"),
                ("signup_network", f"pool {n // 8}"),
                ("mail_domain", f"pool {n // 60}"),
                ("question_head", f"{n}"),
            ]
        else:
            pairs = [
                ("system_prompt", f"app {min(n, int(rng.paretovariate(0.6)))}"),
                ("payment", f"card {n}"),
                ("signup_network", f"home {n // rng.choice((1, 1, 1, 30))}"),
                ("client_stack", f"sdk {int(rng.paretovariate(1))}"),
                ("network", f"net {n // rng.choice((1, 1, 50))}"),
                ("question_head", f"{n}"),
            ]
        yield Evidence(f"acc_{n}", NOW_US, tuple(Key(f, v) for f, v in pairs))


def linking(accounts: int) -> dict[str, Any]:
    """Pairs a CPU second with a tick for every 2,000 pieces of evidence, what is found, and what
    the graph takes. The last tenth is told apart: there the population is as large as it gets."""
    spare_the_collector()
    empty_bytes = _resident_bytes()
    linker, pairs, spent_s, slowest_s = Linker(), 0, 0.0, 0.0
    late_pairs, late_s = 0, 0.0
    for number, one in enumerate(evidence(accounts), 1):
        pairs += len(one.keys)
        started = time.process_time()
        linker.observe(one)
        if number % 2_000 == 0 or number == accounts:
            before = time.process_time()
            linker.tick(NOW_US + number)
            slowest_s = max(slowest_s, time.process_time() - before)
        took_s = time.process_time() - started
        spent_s += took_s
        if number > 0.9 * accounts:
            late_pairs, late_s = late_pairs + len(one.keys), late_s + took_s
    full_bytes = _resident_bytes()
    found = linker.clusters()
    started = time.process_time()
    packed = len(linker.snapshot())
    return {
        "accounts": accounts,
        "pairs": pairs,
        "pairs_per_s": round(pairs / spent_s),
        "pairs_per_s_last_tenth": round(late_pairs / late_s),
        "slowest_tick_s": round(slowest_s, 3),
        "clusters": [(view.state, len(view.accounts)) for view in found[:3]],
        "bytes_per_account": round((full_bytes - empty_bytes) / accounts),
        "snapshot_s": round(time.process_time() - started, 2),
        "snapshot_bytes_per_account": round(packed / accounts),
    }


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Pairs a second and bytes an account over the population."""
    from matplotlib.figure import Figure  # of the extra `report`; figures alone need none

    figure = Figure(figsize=(7, 4), layout="constrained")
    left = figure.subplots()
    sizes = [row["accounts"] for row in rows]
    for name, label in (
        ("pairs_per_s", "all of it"),
        ("pairs_per_s_last_tenth", "its last tenth"),
    ):
        left.plot(sizes, [row[name] / 1000 for row in rows], marker="o", label=label)
    left.axhline(20, color="tab:red", linestyle="--", label="wanted")
    left.set_xscale("log")
    left.set_ylim(bottom=0)
    left.set_xlabel("accounts in the graph")
    left.set_ylabel("thousand new pairs per CPU second")
    left.legend()
    left.set_title("Linker: pairs per second on one core")
    figure.savefig(path, dpi=120)


@click.command()
@click.option("--accounts", default="10000,100000,1000000", show_default=True)
@click.option("--save", type=click.Path(file_okay=False, path_type=Path))
def main(accounts: str, save: Path | None) -> None:
    """Print a line of JSON for each figure."""
    for count in (20_000, 500):  # two requests an account, all looked at; eighty, mostly not
        click.echo(json.dumps({"extraction": extraction(count)}))
    rows = []
    for count in map(int, accounts.split(",")):
        with multiprocessing.get_context("spawn").Pool(1) as alone:
            rows.append(alone.apply(linking, (count,)))
        click.echo(json.dumps({"linking": rows[-1]}))
        sys.stdout.flush()
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)
            (save / "curve.json").write_text(json.dumps(rows, indent=1) + "\n")
            draw(rows, save / "curve.png")


if __name__ == "__main__":
    main()
