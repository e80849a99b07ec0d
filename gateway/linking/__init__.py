"""Linking accounts: evidence families, the graph of shared values, concentration, lineage."""

from __future__ import annotations

# Importing a family's file registers it.
from . import client, facts, network, parameters, template, verification

__all__ = ["client", "facts", "network", "parameters", "template", "verification"]
