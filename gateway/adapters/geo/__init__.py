"""Where an address is: any MaxMind-format files, and a small bundled one behind them."""

from __future__ import annotations

from functools import cache

from .sources import BUNDLED, GeoHolder, geo_paths

__all__ = ["BUNDLED", "GeoHolder", "bundled_geo", "geo_paths"]


@cache
def bundled_geo() -> GeoHolder:
    """What comes with the package alone, read once a process."""
    return GeoHolder(geo_paths((), bundled=True))
