from __future__ import annotations

import pytest

from gateway.loadtests import bench_messages

CASES = [
    *bench_messages.body_cases(),
    *bench_messages.usage_cases(),
    *bench_messages.header_cases(),
    *bench_messages.answer_cases(),
    *bench_messages.route_cases(),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_benchmark_still_runs(case: bench_messages.Case) -> None:
    case.work()


def test_no_two_benchmarks_have_one_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
