"""A real Cluster of three primaries on loopback, in about two seconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from redis.crc import key_slot

from .ports import free_port
from .valkey import Server

SLOTS = 16_384
FORM_TIMEOUT_S = 40.0


class Cluster:
    """Three primaries, without replicas until `add_replica`; `url` names one of them."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        node_timeout_ms: int = 15_000,
        binary: str | None = None,
    ) -> None:
        """`options` go to every node; `binary` is the embedded Valkey's where none is given."""
        self._folder = folder
        self._options = options
        self._node_timeout_ms = node_timeout_ms
        self._binary = binary
        self.nodes: list[Server] = []
        self.replicas: list[Server] = []
        self.bus_ports: list[int] = []
        for _ in range(3):
            bus_port = free_port()
            node = self._node(bus_port)
            self.bus_ports.append(bus_port)
            self.nodes.append(node)
        self.url = f"redis+cluster://127.0.0.1:{self.nodes[0].port}"

    def _node(self, bus_port: int) -> Server:
        return Server(
            self._folder,
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(self._node_timeout_ms)),
            *("--cluster-port", str(bus_port)),
            *("--cluster-config-file", f"nodes-{bus_port}.conf"),
            *("--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"),
            *self._options,
            binary=self._binary,
        )

    def add_replica(self, of: Server) -> Server:
        """A replica of one primary, once it has all of it; `stop` stops it too."""
        bus_port = free_port()
        replica = self._node(bus_port)
        self.replicas.append(replica)
        replica.start()
        of_id = self.node_id(of)
        deadline = time.monotonic() + FORM_TIMEOUT_S
        with self.nodes[0].client() as known, replica.client() as client, of.client() as primary:
            known.execute_command("CLUSTER", "MEET", "127.0.0.1", replica.port, bus_port)
            while time.monotonic() < deadline:
                with contextlib.suppress(redis.ResponseError):
                    client.execute_command("CLUSTER", "REPLICATE", of_id)
                    break
                time.sleep(0.05)
            while time.monotonic() < deadline:
                if "online" in str(primary.info("replication").get("slave0", "")):
                    return replica
                time.sleep(0.05)
        raise RuntimeError("the replica did not come online")

    def start(self) -> None:
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait()
        for index, node in enumerate(self.nodes):
            with node.client() as client:
                client.execute_command("CONFIG SET", "cluster-require-full-coverage", "no")
                client.execute_command(
                    *("CLUSTER", "ADDSLOTSRANGE"),
                    *(SLOTS * index // 3, SLOTS * (index + 1) // 3 - 1),
                )
        deadline = time.monotonic() + FORM_TIMEOUT_S
        while True:
            self._meet()
            for _ in range(100):
                if all(map(_is_whole, self.nodes)):
                    return
                time.sleep(0.02)
            if time.monotonic() > deadline:
                raise RuntimeError("the Cluster did not form")

    def _meet(self) -> None:
        """Introduce the others to the first; on a busy machine a handshake may come to nothing."""
        with self.nodes[0].client() as client:
            for node, bus_port in zip(self.nodes[1:], self.bus_ports[1:], strict=True):
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus_port)

    def stop(self) -> None:
        for node in [*self.nodes, *self.replicas]:
            node.stop()

    def node_of(self, tag: str) -> Server:
        """The node that serves a hash tag, as `start` has spread the slots."""
        return self.nodes[3 * slot_of(tag) // SLOTS]

    def node_id(self, node: Server) -> str:
        with node.client() as client:
            told: bytes | str = client.execute_command("CLUSTER", "MYID")
        return told.decode() if isinstance(told, bytes) else told


def slot_of(tag: str) -> int:
    return int(key_slot(tag.encode()))


def _is_whole(node: Server) -> bool:
    with node.client() as client:
        told = client.execute_command("CLUSTER", "INFO")
        known = told if isinstance(told, dict) else dict(_pairs(told))
    return (
        known.get("cluster_state") == "ok"
        and known.get("cluster_slots_assigned") == str(SLOTS)
        and known.get("cluster_size") == "3"
    )


def _pairs(told: bytes | str) -> Iterator[tuple[str, str]]:
    text = told.decode() if isinstance(told, bytes) else told
    for line in text.splitlines():
        name, _, value = line.partition(":")
        yield name, value


@contextlib.contextmanager
def cluster(
    folder: Path, *options: str, node_timeout_ms: int = 15_000, binary: str | None = None
) -> Iterator[Cluster]:
    one = Cluster(folder, *options, node_timeout_ms=node_timeout_ms, binary=binary)
    try:
        one.start()
        yield one
    finally:
        one.stop()
