"""The confusion matrix as a picture."""

from __future__ import annotations

from pathlib import Path

from npgpt.files import atomic_path
from npgpt.finetuning.classification import ClassificationReport


def plot_confusion(report: ClassificationReport, path: Path, title: str) -> None:
    """Draw the confusion matrix of a classifier as a PNG.

    Parameters
    ----------
    report : ClassificationReport
    path : Path
    title : str
    """
    from matplotlib.figure import Figure

    size = len(report.labels)
    side = 2.5 + 0.55 * min(size, 20)
    figure = Figure(figsize=(side, side), dpi=100, layout="constrained")
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
    axes.set_title(f"{title}: accuracy {report.accuracy:.3f}", loc="left", fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
