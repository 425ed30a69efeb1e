"""What all pictures share: colours, a figure to draw on, a title, and the file that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npgpt.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GREY = "#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8c8c8c"


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
    """Write a figure as a PNG, which is there whole or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def moving_mean(values: Sequence[float] | np.ndarray, span: int) -> np.ndarray:
    """Compute the mean of each ``span`` values in a row, (n,) -> (n - span + 1,)."""
    return np.convolve(np.asarray(values, float), np.ones(span) / span, mode="valid")
