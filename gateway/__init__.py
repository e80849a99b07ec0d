"""Hydragate: an abuse-defence gateway that stands in front of a model API."""

__version__ = "0.1.0"
