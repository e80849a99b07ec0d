"""How plots look: two themes, two widths, one palette that colour-blind readers can tell apart."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

# Okabe and Ito's palette, by run, lightened for dark paper; and a dash pattern each, for print.
COLOURS = {
    "light": ("#0072b2", "#d55e00", "#007f5c", "#a8548a", "#7a6300"),
    "dark": ("#56b4e9", "#ff9a52", "#2fc79a", "#e29ac8", "#e8d44d"),
}
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))


@dataclass(frozen=True, slots=True)
class Look:
    """One theme at one width."""

    theme: str
    is_narrow: bool

    @property
    def ink(self) -> str:
        return "#1d2530" if self.theme == "light" else "#e6e9ee"

    @property
    def paper(self) -> str:
        return "#ffffff" if self.theme == "light" else "#161b22"

    @property
    def faint(self) -> str:
        return "#b9c1cc" if self.theme == "light" else "#4a5361"

    @property
    def width_in(self) -> float:
        return 3.6 if self.is_narrow else 8.6

    def colour(self, number: int) -> str:
        """Of the run with this number; they repeat after five."""
        return COLOURS[self.theme][number % 5]


WIDE_LIGHT = Look("light", is_narrow=False)
LOOKS = (
    WIDE_LIGHT,
    Look("dark", is_narrow=False),
    Look("light", is_narrow=True),
    Look("dark", is_narrow=True),
)
# No date above all, or no two reports would be equal.
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
# A hundredth of a point is finer than any screen, and half of a curve's bytes are digits behind it.
_LONG = re.compile(rb"(\d\.\d\d)\d+")
Draw = Callable[[Look], Figure]


@contextmanager
def styled(look: Look) -> Iterator[None]:
    """Matplotlib's defaults in this look, for as long as the block lasts."""
    settings: dict[Any, Any] = {
        "figure.facecolor": look.paper,
        "axes.facecolor": look.paper,
        "savefig.facecolor": look.paper,
        "text.color": look.ink,
        "axes.labelcolor": look.ink,
        "axes.edgecolor": look.faint,
        "xtick.color": look.ink,
        "ytick.color": look.ink,
        "grid.color": look.faint,
        "grid.alpha": 0.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 11,
        "font.size": 9 if look.is_narrow else 10,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
        "svg.hashsalt": "hydragate",
    }
    with mpl.rc_context(settings):
        yield


def as_svg(draw: Draw, look: Look) -> str:
    """The drawing as a data URI; the same bytes for the same numbers."""
    buffer = io.BytesIO()
    with styled(look):
        draw(look).savefig(buffer, format="svg", metadata=NO_METADATA)
    svg = _LONG.sub(rb"\1", buffer.getvalue())
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def as_png(draw: Draw) -> bytes:
    """The drawing in its wide light look, for slides and tickets."""
    buffer = io.BytesIO()
    with styled(WIDE_LIGHT):
        draw(WIDE_LIGHT).savefig(buffer, format="png", dpi=140, metadata={"Software": None})
    return buffer.getvalue()
