"""Linking accounts: evidence families, the graph of shared values, concentration, lineage."""

from __future__ import annotations

# Importing a family's file registers it.
from . import (
    client,
    echo,
    facts,
    network,
    parameters,
    provenance,
    template,
    turn_rings,
    verification,
)

__all__ = [
    "client",
    "echo",
    "facts",
    "network",
    "parameters",
    "provenance",
    "template",
    "turn_rings",
    "verification",
]
