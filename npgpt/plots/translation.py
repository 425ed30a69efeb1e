"""Pictures of translations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from npgpt.plots.style import draw_title, new_figure, save

INCHES_A_TOKEN = 0.24
MARGIN = 1.6  # inches for the words beside the map
SIDES = 3.0, 18.0  # inches: the smallest and the largest of the map


def plot_alignment(
    alignment: np.ndarray,
    source: Sequence[str],
    target: Sequence[str],
    path: str | Path,
    title: str = "",
) -> None:
    """Draw how much a decoder looked at each source token as it made each token, as a PNG.

    Parameters
    ----------
    alignment : ndarray, shape (len(target), len(source))
        Of each token of the translation, a row that sums to 1.
    source, target : sequence of str
        The tokens' texts.
    path : path
    title : str
    """
    width, height = (
        float(np.clip(INCHES_A_TOKEN * len(tokens), *SIDES)) + MARGIN for tokens in (source, target)
    )
    figure = new_figure(width, height, 80)
    axes = figure.subplots()
    image = axes.imshow(alignment, cmap="Greys", vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xticks(range(len(source)), source, rotation=90)
    axes.set_yticks(range(len(target)), target)
    axes.tick_params(labelsize=8, length=2, bottom=False, labelbottom=False)
    axes.tick_params(top=True, labeltop=True)
    axes.set_xlabel("source")
    axes.set_ylabel("translation")
    bar = figure.colorbar(image, ax=axes, shrink=0.6)
    bar.set_label("share of the attention", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    if title:
        draw_title(axes, title)
    save(figure, path)
