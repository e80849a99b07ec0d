"""What linking costs: evidence per request, pairs per second, and how both grow with accounts.

    python -m hydragate.loadtests.bench_linking [--accounts 10000,100000,1000000]

CPU time of this process; on shared machines compare within one run.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from ..core.keyed import KeyedHash
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
    """Pairs a CPU second with a tick for every 2,000 pieces of evidence, and what is found."""
    linker, pairs, spent_s, slowest_s = Linker(), 0, 0.0, 0.0
    for number, one in enumerate(evidence(accounts), 1):
        pairs += len(one.keys)
        started = time.process_time()
        linker.observe(one)
        if number % 2_000 == 0 or number == accounts:
            before = time.process_time()
            linker.tick(NOW_US + number)
            slowest_s = max(slowest_s, time.process_time() - before)
        spent_s += time.process_time() - started
    found = linker.clusters()
    return {
        "accounts": accounts,
        "pairs": pairs,
        "pairs_per_s": round(pairs / spent_s),
        "slowest_tick_s": round(slowest_s, 3),
        "clusters": [(view.state, len(view.accounts)) for view in found[:3]],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


@click.command()
@click.option("--accounts", default="10000,100000,1000000", show_default=True)
def main(accounts: str) -> None:
    """Print a line of JSON for each figure."""
    for count in (20_000, 500):  # two requests an account, all looked at; eighty, mostly not
        click.echo(json.dumps({"extraction": extraction(count)}))
    for count in map(int, accounts.split(",")):
        click.echo(json.dumps({"linking": linking(count)}))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
