"""Where an address is: any MaxMind-format files, and a small bundled one behind them."""

from __future__ import annotations

from .sources import BUNDLED, GeoHolder, geo_paths

__all__ = ["BUNDLED", "GeoHolder", "geo_paths"]
