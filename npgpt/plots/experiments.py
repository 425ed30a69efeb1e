"""What the experiments found, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from npgpt.experiments.positions import PositionResult
from npgpt.experiments.vanishing_gradients import VARIANTS, DepthResult
from npgpt.plots.style import GREY, draw_grid, moving_mean, new_figure, save


def plot_positions(results: Sequence[PositionResult], trained: int, path: str | Path) -> None:
    """Draw the loss at each place of a window, smoothed over 8 places, as a PNG."""
    figure = new_figure(7, 4, 80)
    axes = figure.subplots()
    span = min(8, *(len(result.by_place) for result in results))
    for result in results:
        smooth = moving_mean(result.by_place, span)
        axes.plot(np.arange(len(smooth)) + span / 2, smooth, label=result.position, linewidth=1.4)
    axes.axvline(trained, color=GREY, linestyle="--", linewidth=1)
    axes.annotate(" trained length", (trained, 0.98), xycoords=("data", "axes fraction"), va="top")
    axes.set_xlabel("place in the window")
    axes.set_ylabel("loss (nats a token)")
    draw_grid(axes)
    axes.legend(frameon=False)
    save(figure, path)


def plot_vanishing_gradients(results: Sequence[DepthResult], path: str | Path) -> None:
    """Draw the gradient norm of each block against its depth, a panel a variant, as a PNG."""
    import matplotlib
    from matplotlib.ticker import LogLocator

    figure = new_figure(8, 5, 72)
    depths = sorted({result.n_layers for result in results})
    colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, len(depths)))
    for axes, variant in zip(figure.subplots(2, 2).flat, VARIANTS, strict=True):
        for result in results:
            if result.variant == variant:
                axes.semilogy(
                    np.arange(1, result.n_layers + 1),
                    result.grad_norms,
                    ".-",
                    markersize=3,
                    linewidth=1,
                    color=colours[depths.index(result.n_layers)],
                    label=f"{result.n_layers}",
                )
        axes.set_title(variant)
        axes.set_xlabel("block")
        axes.set_ylabel("gradient norm")
        axes.yaxis.set_major_locator(LogLocator(numticks=8))
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 1e-3), max(high, 1.0))  # a panel of one decade would mislead
        draw_grid(axes)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), title="blocks", loc="outside right center"
    )
    save(figure, path)
