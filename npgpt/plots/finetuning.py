"""A classifier's confusion matrix and a preference run's rewards as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from npgpt.finetuning.classification import ClassificationReport
from npgpt.plots.style import BLUE, GREEN, GREY, RED, draw_grid, draw_title, new_figure, save


def plot_confusion(report: ClassificationReport, path: Path, title: str) -> None:
    """Draw the confusion matrix of a classifier as a PNG.

    Parameters
    ----------
    report : ClassificationReport
    path : Path
    title : str
    """
    size = len(report.labels)
    side = 2.5 + 0.55 * min(size, 20)
    figure = new_figure(side, side, 100)
    axes = figure.subplots()
    shares = report.confusion / report.confusion.sum(axis=1, keepdims=True).clip(1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if size <= 20:
        for i in range(size):
            for j in range(size):
                if report.confusion[i, j]:
                    colour = "white" if shares[i, j] > 0.5 else "black"
                    count = str(report.confusion[i, j])
                    axes.text(j, i, count, ha="center", va="center", color=colour)
    axes.set_xticks(range(size), report.labels, rotation=45, ha="right")
    axes.set_yticks(range(size), report.labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    draw_title(axes, f"{title}: accuracy {report.accuracy:.3f}")
    save(figure, path)


def plot_rewards(metrics: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draw rewards and their accuracy on the held-out pairs against the step, as a PNG.

    Parameters
    ----------
    metrics : list of dict
        As `npgpt.training.read_metrics` returns them, of a preference run.
    path : Path
    title : str
    """
    evaluations = [line for line in metrics if line["kind"] == "evaluation"]
    steps = [line["step"] for line in evaluations]
    figure = new_figure(7, 4.5, 80)
    reward_axes, accuracy_axes = figure.subplots(2, 1, sharex=True)
    reward_axes.set_title(title)
    for name, colour in (("chosen", GREEN), ("rejected", RED), ("margins", BLUE)):
        values = [line["scores"][f"rewards/{name}"] for line in evaluations]
        label = "margin" if name == "margins" else name
        reward_axes.plot(steps, values, "o-", color=colour, markersize=4, label=label)
    reward_axes.axhline(0, color=GREY, linewidth=0.8)
    reward_axes.set_ylabel("reward")
    reward_axes.legend(frameon=False)
    rewarded = evaluations[1:]  # before the first step all rewards are 0: there is no order yet
    accuracies = [line["scores"]["rewards/accuracies"] for line in rewarded]
    accuracy_axes.plot(steps[1:], accuracies, "o-", color=BLUE, markersize=4)
    accuracy_axes.axhline(0.5, color=GREY, linestyle="--", linewidth=0.8)
    accuracy_axes.set_ylabel("reward accuracy")
    accuracy_axes.set_xlabel("step")
    draw_grid(reward_axes, accuracy_axes)
    save(figure, path)
