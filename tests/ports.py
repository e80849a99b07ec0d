"""Where tests find their ports."""

from __future__ import annotations

from gateway.loadtests.servers.ports import free_port

__all__ = ["free_port"]
