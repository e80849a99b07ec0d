"""Servers that several folders of tests share: started when first wanted, once per run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from gateway.loadtests.servers.cluster import Cluster, cluster
from gateway.loadtests.servers.valkey import Server, binaries, server

# What else the machine does is no property of the code; tests of speed read `time.process_time`.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("valkey")) as one:
        yield one


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The machine's own Redis; only tests that found one ask for it."""
    with server(tmp_path_factory.mktemp("redis"), binary=binaries()["redis"]) as one:
        yield one


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as three:
        yield three
