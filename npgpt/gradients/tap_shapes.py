"""What the names of a model stand for: shapes, found by running it."""

from __future__ import annotations

import numpy as np

from npgpt.gradients.untouched import untouched
from npgpt.layers.core.taps import Listening
from npgpt.models import GPT

SMALL_BATCH, SMALL_TIME = 3, 1  # and one more of each: an axis that grows tells what it is


def tap_shapes(model: GPT) -> dict[str, tuple[str | int, ...]]:
    """Map every name that can be recorded or edited to the shape of its array.

    Parameters
    ----------
    model : GPT
        Two forward passes of a few tokens are run, in evaluation mode.

    Returns
    -------
    dict
        In the order of the forward pass. The axes that depend on the input are called ``"batch"``
        and ``"time"``; the others are numbers.

    Examples
    --------
    >>> import npgpt
    >>> model = npgpt.GPT(npgpt.GPTConfig(7, 4, n_layers=1, n_heads=2, d_model=6))
    >>> tap_shapes(model)["blocks.0.attention.q"]
    ('batch', 2, 'time', 3)
    """
    longer = min(SMALL_TIME + 1, model.config.context_length)
    sizes = [(SMALL_BATCH, SMALL_TIME), (SMALL_BATCH + 1, longer)]
    with untouched(model, training=False):
        first, second = (_shapes_of_pass(model, size) for size in sizes)
    model.forget()
    batch, time = zip(*sizes, strict=True)
    axes: dict[tuple[int, int], str] = {batch: "batch"}
    if time[0] != time[1]:
        axes[time] = "time"
    return {
        name: tuple(axes.get(pair, pair[1]) for pair in zip(shape, second[name], strict=True))
        for name, shape in first.items()
    }


class _Shapes(Listening):
    def __init__(self, model: GPT):
        super().__init__(model)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def wants(self, name: str) -> bool:
        """Want every name."""
        return True

    def forward(self, name: str, array: np.ndarray) -> np.ndarray:
        """Note the shape."""
        self.shapes[name] = array.shape
        return array


def _shapes_of_pass(model: GPT, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    with _Shapes(model) as listener:
        model.forward(np.zeros(size, np.int64))
    return listener.shapes
