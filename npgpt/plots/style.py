"""What all pictures share: colours, a figure to draw on, a title, and the file that it becomes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npgpt.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GREY = "#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8c8c8c"
PURPLE = "#8172b3"


def new_figure(width: float, height: float, dpi: int) -> Figure:
    """Make an empty figure of so many inches."""
    # imported here, and without pyplot: a command that draws nothing does not pay for it
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def draw_title(axes: Any, title: str) -> None:
    """Write a small title above axes, at their left."""
    axes.set_title(title, loc="left", fontsize=10)


def draw_grid(*axes: Any, **which: Any) -> None:
    """Draw a pale grid on axes; ``axis="y"`` draws its horizontal lines only."""
    for each in axes:
        each.grid(alpha=0.25, **which)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG, which is there whole or not at all.

    Every text is drawn letter by letter: names may hold dollars, which are no mathematics.
    """
    take_literally(figure)
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # a letter that the font lacks becomes a box, a panel without room is not laid out anew
        warnings.filterwarnings("ignore", category=UserWarning, module="matplotlib|npgpt.plots")
        figure.savefig(temporary, format="png")


def moving_mean(values: Sequence[float] | np.ndarray, span: int) -> np.ndarray:
    """Compute the mean of each ``span`` values in a row, (n,) -> (n - span + 1,)."""
    return np.convolve(np.asarray(values, float), np.ones(span) / span, mode="valid")


def take_literally(figure: Figure) -> None:
    """Let no text of a figure be read as mathematics, but the powers at logarithmic axes."""
    from matplotlib.text import Text

    numbers = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        if axis.get_scale() == "log"
        for label in axis.get_ticklabels(which="both")
    }
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in numbers:
            text.set_parse_math(False)
            text.set_usetex(False)
            text.set_text(drawable(text.get_text()))


def drawable(text: str) -> str:
    """Return a text with U+FFFD for each character that no font draws."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
