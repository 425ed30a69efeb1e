"""Questions that a few models answer: each an experiment that anyone can repeat.

An experiment is a function that returns its numbers, `npgpt.plots.experiments` draws them, and
``npgpt experiment`` runs it.
"""

from npgpt.experiments.positions import PositionResult, compare_positions
from npgpt.experiments.vanishing_gradients import DepthResult, vanishing_gradients

__all__ = ["DepthResult", "PositionResult", "compare_positions", "vanishing_gradients"]
