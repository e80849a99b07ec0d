"""Every fact about a request that a policy may name: one file a topic, one function a signal.

A new file in this folder is found by itself.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ..registry import all_signals

__all__ = ["all_signals"]

for _module in sorted(module.name for module in iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")
