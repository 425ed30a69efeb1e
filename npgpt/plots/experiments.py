"""What the experiments found, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npgpt.experiments.gradient_by_distance import DistanceResult
from npgpt.experiments.language_models import LanguageModelResult, fewest_steps
from npgpt.experiments.memory import SYMBOLS, TASKS, MemoryResult
from npgpt.experiments.positions import PositionResult
from npgpt.experiments.vanishing_gradients import VARIANTS, DepthResult
from npgpt.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    draw_grid,
    draw_title,
    moving_mean,
    new_figure,
    save,
)

# of each family of models in all pictures
LOOKS: dict[str, dict[str, Any]] = {
    "rnn": {"color": RED, "marker": "o"},
    "gru": {"color": ORANGE, "marker": "s"},
    "lstm": {"color": BLUE, "marker": "^"},
    "conv": {"color": GREEN, "marker": "D"},
    "gpt": {"color": PURPLE, "marker": "v"},
}


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


def plot_language_models(results: Sequence[LanguageModelResult], path: str | Path) -> None:
    """Draw each model's held-out loss by step and by second of training, as a PNG."""
    figure = new_figure(9, 4, 80)
    by_step, by_second = figure.subplots(1, 2, sharey=True)
    for result in results:
        for axes, places in ((by_step, result.steps), (by_second, result.seconds)):
            # without the loss before training, which would press all others together
            axes.plot(
                places[1:],
                result.losses[1:],
                label=f"{result.model} ({result.parameters:,} parameters)",
                linewidth=1.4,
                markersize=4,
                **LOOKS[result.model],
            )
    by_step.axvline(fewest_steps(results), color=GREY, linestyle="--", linewidth=1)
    by_step.set_xscale("log")
    by_step.set_xlabel("optimiser steps")
    by_second.set_xlabel("seconds of training")
    by_step.set_ylabel("held-out loss (nats a token)")
    draw_title(by_step, "by step; dashed: where the slowest ended")
    draw_title(by_second, "by second")
    draw_grid(by_step, by_second)
    by_second.legend(frameon=False, fontsize=9)
    save(figure, path)


def plot_gradients(results: Sequence[DistanceResult], path: str | Path) -> None:
    """Draw the gradient's norm by distance, a panel for each number of steps, as a PNG."""
    moments = sorted({result.steps for result in results})
    figure = new_figure(4.5 * len(moments), 4, 80)
    panels = figure.subplots(1, len(moments), sharey=True, squeeze=False)[0]
    for axes, steps in zip(panels, moments, strict=True):
        for result in results:
            if result.steps == steps:
                colour = LOOKS[result.model]["color"]
                axes.semilogy(result.norms, label=result.model, linewidth=1.4, color=colour)
        axes.axhline(np.finfo(np.float32).tiny, color=GREY, linestyle="--", linewidth=1)
        draw_title(axes, f"after {steps:,} steps" if steps else "at the start")
        axes.set_xlabel("distance (positions before the last)")
        draw_grid(axes)
    panels[0].annotate(
        "smallest normal float32", (0.02, float(np.finfo(np.float32).tiny)),
        xycoords=("axes fraction", "data"), va="bottom", fontsize=8, color=GREY,
    )  # fmt: skip
    panels[0].set_ylabel("gradient norm by the embedding")
    panels[-1].legend(frameon=False)
    save(figure, path)


def plot_memories(results: Sequence[MemoryResult], path: str | Path) -> None:
    """Draw accuracies by distance, a panel a task, as a PNG."""
    tasks = list(dict.fromkeys(result.task for result in results))
    figure = new_figure(max(4.5, 3.5 * len(tasks)), 3.8, 80)
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    distances = sorted({result.distance for result in results})
    for axes, task in zip(panels, tasks, strict=True):
        for model in dict.fromkeys(result.model for result in results):
            points = [r for r in results if (r.task, r.model) == (task, model)]
            axes.plot(
                [point.distance for point in points],
                [point.accuracy for point in points],
                label=model,
                linewidth=1.4,
                markersize=5,
                **LOOKS[model],
            )
        axes.axhline(1.0 / SYMBOLS, color=GREY, linestyle="--", linewidth=1, label="chance")
        axes.set_xscale("log", base=2)
        axes.set_xticks(distances, map(str, distances), fontsize=8)
        axes.minorticks_off()
        axes.set_ylim(0.0, 1.04)
        axes.set_xlabel("distance (positions)")
        draw_title(axes, TASKS[task].title)
        draw_grid(axes)
    panels[0].set_ylabel("share of symbols right")
    figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, loc="outside right center")
    save(figure, path)
