"""The Lua that runs inside a data plane: one file of its own, with what both have in common."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal


def lua_source(plane: Literal["envoy", "nginx"]) -> str:
    """One chunk, whole: `answer.lua` as a local `answer`, and the data plane's file after it."""
    folder = files(__package__ or "")
    answer, own = ((folder / f"{name}.lua").read_text() for name in ("answer", plane))
    return f"local answer = (function()\n{answer}end)()\n\n{own}"
