"""The stand-in that all data planes forward to."""

from tests.surfaces.conftest import upstream

__all__ = ["upstream"]
