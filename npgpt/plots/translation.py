"""Pictures of translations."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from npgpt.experiments.translation import EXACT_MATCH, TranslatorResult
from npgpt.plots.style import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    draw_grid,
    draw_title,
    new_figure,
    save,
)

INCHES_A_TOKEN = 0.24
MARGIN = 1.6  # inches for the words beside the map
LOOKS = (RED, "o"), (BLUE, "^"), (PURPLE, "v"), (ORANGE, "s")
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
    plot_alignments([(title, alignment, source, target)], path)


def plot_alignments(
    maps: Sequence[tuple[str, np.ndarray, Sequence[str], Sequence[str]]], path: str | Path
) -> None:
    """Draw alignments beside each other, as a PNG.

    Parameters
    ----------
    maps : sequence of (title, alignment, source, target)
        As of `plot_alignment`.
    path : path
    """
    widths = [_inches(source) for _, _, source, _ in maps]
    height = max(_inches(target) for *_, target in maps)
    figure = new_figure(sum(widths) + MARGIN * len(maps), height + MARGIN, 80)
    panels = figure.subplots(1, len(maps), squeeze=False, width_ratios=widths)[0]
    for axes, (title, alignment, source, target) in zip(panels, maps, strict=True):
        image = axes.imshow(alignment, cmap="Greys", vmin=0.0, vmax=1.0, aspect="auto")
        axes.set_xticks(range(len(source)), source, rotation=90)
        axes.set_yticks(range(len(target)), target)
        axes.tick_params(labelsize=8, length=2, bottom=False, labelbottom=False)
        axes.tick_params(top=True, labeltop=True)
        axes.set_xlabel("source")
        axes.set_ylabel("translation")
        if title:
            draw_title(axes, title)
    bar = figure.colorbar(image, ax=panels, shrink=0.6)
    bar.set_label("share of the attention", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    save(figure, path)


def _inches(tokens: Sequence[str]) -> float:
    return float(np.clip(INCHES_A_TOKEN * len(tokens), *SIDES))


def plot_translators(results: Sequence[TranslatorResult], path: str | Path) -> None:
    """Draw each model's score by the length of the source, as a PNG."""
    figure = new_figure(7, 4, 80)
    axes = figure.subplots()
    for result, (colour, marker) in zip(results, itertools.cycle(LOOKS)):
        lengths = [(each.shortest + each.longest) / 2 for each in result.by_length]
        scores = [each.score for each in result.by_length]
        label = f"{result.model} ({result.parameters:,} parameters)"
        axes.plot(lengths, scores, color=colour, marker=marker, markersize=4, label=label)
    longest = results[0].longest_learned
    if longest < max(each.longest for each in results[0].by_length):
        axes.axvline(longest, color=GREY, linestyle="--", linewidth=1)
        place = (longest, 0.02)
        axes.annotate(" longest learned", place, xycoords=("data", "axes fraction"), fontsize=8)
    axes.set_ylim(0.0, 1.02 if results[0].metric == EXACT_MATCH else 102)
    axes.set_xlabel("tokens of the source")
    axes.set_ylabel(results[0].metric)
    draw_title(axes, f"after {max(result.seconds for result in results):,.0f} s of training each")
    draw_grid(axes)
    axes.legend(frameon=False, fontsize=8)
    save(figure, path)
