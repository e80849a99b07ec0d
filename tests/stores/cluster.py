"""Where tests find their Cluster."""

from __future__ import annotations

from gateway.loadtests.servers.cluster import Cluster, cluster, slot_of

__all__ = ["Cluster", "cluster", "slot_of"]
