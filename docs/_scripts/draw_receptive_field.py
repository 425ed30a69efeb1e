"""Draw docs/images/receptive-field.png: what one output of stacked convolutions reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from npgpt.layers import CausalConv1d
from npgpt.plots.style import BLUE, GREY, ORANGE, new_figure, save

KERNEL, TIME = 3, 17
STACKS = {"the same dilation: 1, 1, 1": (1, 1, 1), "doubled in each layer: 1, 2, 4": (1, 2, 4)}


def read_by(stack: list[CausalConv1d], place: int) -> list[np.ndarray]:
    """Find the positions on each level that an output depends on, by sending a gradient back."""
    y = np.ones((1, TIME, 1))
    for layer in stack:
        y = layer.forward(y)
    dy = np.zeros_like(y)
    dy[0, place] = 1.0
    levels = [np.flatnonzero(dy[0, :, 0])]
    for layer in reversed(stack):
        dy = layer.backward(dy)
        levels.append(np.flatnonzero(dy[0, :, 0]))
    return levels[::-1]


def draw(path: Path) -> None:
    """Draw a tree for each stack: inputs below, the output above."""
    figure = new_figure(8.4, 2.9, 110)
    for axes, (title, dilations) in zip(figure.subplots(1, 2), STACKS.items(), strict=True):
        stack = [CausalConv1d(1, 1, KERNEL, d, rng=0, dtype=np.float64) for d in dilations]
        levels = read_by(stack, TIME - 1)
        for level, places in enumerate(levels):
            axes.plot(range(TIME), [level] * TIME, "o", color=GREY, markersize=3, alpha=0.5)
            for place in places if level else ():
                for j in range(KERNEL):
                    read = place - j * dilations[level - 1]
                    axes.plot([place, read], [level, level - 1], color=BLUE, linewidth=0.9)
            axes.plot(places, [level] * len(places), "o", color=ORANGE, markersize=5)
        field = 1 + sum(layer.receptive_field - 1 for layer in stack)
        axes.set_title(f"{title}\n{field} positions", fontsize=9)
        axes.set_yticks(range(4), ["inputs", "layer 0", "layer 1", "layer 2"], fontsize=8)
        axes.set_xlabel("position", fontsize=8)
        axes.tick_params(labelsize=7, length=0)
        axes.spines[:].set_visible(False)
    save(figure, path)


if __name__ == "__main__":
    draw(Path(__file__).parent.parent / "images" / "receptive-field.png")
