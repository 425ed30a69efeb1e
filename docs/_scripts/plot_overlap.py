"""Draw docs/images/overlap.png from the three runs that docs/learn/sliding-windows.md names."""

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

COLOURS = {32: "#c44e52", 8: "#4c72b0", 1: "#55a868"}
SMOOTH = 40  # steps


def draw(runs: Path, path: Path) -> None:
    """Draw training and held-out loss of the runs stride-32, stride-8 and stride-1."""
    figure = Figure(figsize=(8, 3.6), dpi=110, layout="constrained")
    training, held_out = figure.subplots(1, 2, sharey=True)
    for stride, colour in COLOURS.items():
        text = (runs / f"stride-{stride}" / "metrics.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
        steps = [(line["step"], line["loss"]) for line in lines if line["kind"] == "step"]
        tests = [(line["step"], line["loss"]) for line in lines if line["kind"] == "evaluation"]
        places, losses = np.array(steps).T
        smooth = np.convolve(losses, np.ones(SMOOTH) / SMOOTH, "valid")
        training.plot(places[SMOOTH - 1 :], smooth, color=colour, label=f"stride {stride}")
        label = f"stride {stride}"
        held_out.plot(*np.array(tests).T, "o-", markersize=3, color=colour, label=label)
    training.set_title(f"training loss (mean of {SMOOTH} steps)", fontsize=10)
    held_out.set_title("held-out loss", fontsize=10)
    training.set_ylabel("nats a token")
    for axes in (training, held_out):
        axes.set_xlabel("step")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    draw(Path("runs"), Path(__file__).parent.parent / "images" / "overlap.png")
