"""Where tests find their Valkeys."""

from __future__ import annotations

from gateway.loadtests.servers.valkey import Server, binaries, server, version_of

__all__ = ["Server", "binaries", "server", "version_of"]
