"""The loss curve of a run, and the accuracy against the number of examples, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npgpt.evaluation.few_shot import FewShotResult
from npgpt.plots.style import BLUE, GREY, RED, draw_grid, draw_title, moving_mean, new_figure, save


def plot_loss(metrics: list[dict[str, Any]], path: Path, title: str, item: str = "token") -> None:
    """Draw loss and learning rate against the step, as a PNG.

    Parameters
    ----------
    metrics : list of dict
        As `read_metrics` returns them.
    path : Path
    title : str
    item : str
        What the loss is the mean over.
    """
    steps = [line for line in metrics if line["kind"] == "step"]
    evaluations = [line for line in metrics if line["kind"] == "evaluation"]
    figure = new_figure(8, 5, 130)
    loss_axes, rate_axes = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    loss_axes.set_title(title)
    if steps:
        x = np.array([line["step"] for line in steps])
        loss = np.array([line["loss"] for line in steps])
        loss_axes.plot(x, loss, color=BLUE, alpha=0.3, linewidth=0.8)
        span = max(1, len(loss) // 50)  # steps
        if len(loss) >= span:
            label = f"training (mean of {span} steps)" if span > 1 else "training"
            loss_axes.plot(x[span - 1 :], moving_mean(loss, span), color=BLUE, label=label)
        rate_axes.plot(x, [line["lr"] for line in steps], color=GREY)
    if evaluations:
        x = np.array([line["step"] for line in evaluations])
        loss = np.array([line["loss"] for line in evaluations])
        loss_axes.plot(x, loss, "o-", color=RED, markersize=4, label="held-out text")
        best = int(loss.argmin())
        loss_axes.annotate(
            f"{loss[best]:.3f}",
            (x[best], loss[best]),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            color=RED,
        )
    loss_axes.set_ylabel(f"loss (nats a {item})")
    if steps or evaluations:
        loss_axes.legend(frameon=False)
    rate_axes.set_ylabel("learning rate")
    rate_axes.set_ylim(bottom=0)
    draw_grid(loss_axes, rate_axes)
    rate_axes.set_xlabel("step")
    save(figure, path)


def plot_few_shot(
    results: Sequence[FewShotResult], chance: float, path: str | Path, title: str
) -> None:
    """Draw the accuracy, with its 95 per cent interval, against the number of shots, as a PNG.

    Parameters
    ----------
    results : sequence of FewShotResult
    chance : float
        Accuracy of answers that do not depend on the questions; a dashed line.
    path : path
    title : str
    """
    figure = new_figure(5.5, 3.5, 90)
    axes = figure.subplots()
    accuracy = np.array([result.accuracy for result in results])
    below, above = np.abs(np.array([result.interval for result in results]).T - accuracy)
    places = range(len(results))
    axes.errorbar(
        places, accuracy, yerr=(below, above), fmt="o", color=BLUE, capsize=5,
        label="accuracy, 95 % interval",
    )  # fmt: skip
    axes.axhline(chance, color=GREY, linestyle="--", label=f"chance ({chance:.3f})")
    axes.set_xticks(places, [str(result.shots) for result in results])
    axes.set_xlim(-0.5, len(results) - 0.5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("examples in the prompt")
    axes.set_ylabel(f"accuracy on {results[0].questions} questions")
    draw_title(axes, title)
    draw_grid(axes, axis="y")
    axes.legend(frameon=False)
    save(figure, path)
