"""What regions cost a request: a lookup, the signals, and a policy with many or few countries.

Run: python -m hydragate.loadtests.bench_regions. CPU time of this process, medians of rounds. The
share is of the throughput that `bench throughput` measured (CPU of a whole request), which is given
with `--request-us`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

from ..adapters.facts import origin_of
from ..adapters.geo import bundled_geo
from ..core.assess import assess
from ..core.keyed import KeyedHash
from ..core.prepare import Preparer
from ..model import Policy, RequestFacts, Subject
from ..policy.load import load_policy

ROUNDS, TIMES = 7, 20_000
SIGNALS = ("home_country", "billing_country", "asn", "network_class", "country_conflict")
HEAD = "version: 1\nname: bench\nmode: enforce\n"
FACTS = RequestFacts(
    *("d" * 26, 0, "proxy", "POST", "/v1/chat/completions", "openai.chat_completions", "openai"),
    credential="c" * 32,
    country="DE",
    asn=64500,
    network_class="eyeball",
)
SUBJECT = Subject("acc_1", version=1, billing_country="DE", phone_country="FR")


def us_each(call: Callable[[], object], times: int = TIMES) -> float:
    """Median over rounds of the CPU time of one call, in microseconds."""
    took = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(times):
            call()
        took.append((time.process_time() - started) / times * 1e6)
    return median(took)


def addresses(count: int = 4096) -> list[IPv4Address | IPv6Address]:
    rng = Random(1)
    four: list[IPv4Address | IPv6Address] = [
        IPv4Address(rng.randrange(1 << 24, 224 << 24)) for _ in range(count // 2)
    ]
    six = [IPv6Address((0x2A00 << 112) | rng.getrandbits(112)) for _ in range(count // 2)]
    return four + list(six)


def region_policy(folder: Path, countries: int, asns: int) -> Policy:
    codes = ["DE", *(chr(65 + n // 26) + chr(65 + n % 26) for n in range(countries - 1))]
    codes = sorted(set(codes))  # both policies match, so that both do the same
    rules = "".join(
        f"  - name: {name}\n    why: a region rule\n    mode: shadow\n    when: {when}\n"
        "    on_unknown: no_match\n    then: {deny: {status: 451}}\n"
        for name, when in (
            ("by-country", "{home_country: {in: places}, billing_country: {in: places}}"),
            ("by-asn", "{asn: {in: systems}, network_class: hosting}"),
            ("by-conflict", "{country_conflict: true}"),
        )
    )
    text = HEAD + f"sets:\n  places: [{', '.join(codes)}]\n"
    text += f"  systems: [{', '.join(map(str, range(1, asns + 1)))}]\nrules:\n{rules}"
    folder.mkdir()
    (folder / "policy.yaml").write_text(text.replace("NO,", '"NO",').replace("ON,", '"ON",'))
    return load_policy(folder)


def without_regions(folder: Path) -> Policy:
    folder.mkdir()
    (folder / "policy.yaml").write_text(HEAD)
    return load_policy(folder)


def assess_us(policy: Policy) -> float:
    prepared = Preparer(policy).prepare(SUBJECT)
    return us_each(lambda: assess(policy, FACTS, SUBJECT, prepared=prepared))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--request-us", type=float, default=180.0, help="CPU of a whole request.")
    request_us = parser.parse_args().request_us
    keyed, geo, some = KeyedHash(b"x" * 32), bundled_geo(), addresses()
    turn = iter(range(1 << 62))
    lookup = us_each(lambda: geo.place_of(some[next(turn) & 4095]))
    hashed = us_each(lambda: origin_of(some[next(turn) & 4095], keyed))
    placed = us_each(lambda: origin_of(some[next(turn) & 4095], keyed, geo))
    with TemporaryDirectory() as name:
        folder = Path(name)
        bare = assess_us(without_regions(folder / "bare"))
        few = assess_us(region_policy(folder / "few", 5, 5))
        many = assess_us(region_policy(folder / "many", 200, 10_000))
    added = placed - hashed + many - bare
    print(f"lookup                        {lookup:6.2f} us (wanted: at most 3)")
    print(f"origin without / with lookup  {hashed:6.2f} / {placed:.2f} us")
    print(f"assess, no region rule        {bare:6.2f} us")
    print(f"assess, 5 countries, 5 AS     {few:6.2f} us")
    print(f"assess, 200 and 10,000        {many:6.2f} us, {many / few:.2f} of the small policy")
    print(f"regions in all                {added:6.2f} us, {added / request_us:.1%} of a request")


if __name__ == "__main__":
    main()
