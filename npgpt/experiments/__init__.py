"""Questions that a few models answer: each an experiment that anyone can repeat.

An experiment is a function that returns its numbers, and says how to draw them; `npgpt experiment`
runs them.
"""

from npgpt.experiments.positions import PositionResult, compare_positions, plot_positions
from npgpt.experiments.vanishing_gradients import (
    DepthResult,
    plot_vanishing_gradients,
    vanishing_gradients,
)

__all__ = [
    "DepthResult",
    "PositionResult",
    "compare_positions",
    "plot_positions",
    "plot_vanishing_gradients",
    "vanishing_gradients",
]
