"""What the names of a model stand for: shapes, found by running it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from npgpt.gradients.record import record
from npgpt.gradients.untouched import untouched
from npgpt.models import Model

SMALL_BATCH, SMALL_TIME = 3, 1  # and one more of each: an axis that grows tells what it is


def tap_shapes(model: Model, *batch: Any) -> dict[str, tuple[str | int, ...]]:
    """Map every name that can be recorded or edited to the shape of its array.

    Parameters
    ----------
    model : Model
        Two forward passes are run, in evaluation mode.
    *batch : ndarray
        What the model's loss takes, of at least 2 examples, and run with one less too; by default
        a few token ids and targets, of one time and another, as a language model's loss takes them.

    Returns
    -------
    dict
        In the order of the forward pass. The axes that depend on the input are called ``"batch"``
        and ``"time"``; the others are numbers, and so is time where a batch is given.

    Examples
    --------
    >>> import npgpt
    >>> model = npgpt.GPT(npgpt.GPTConfig(7, 4, n_layers=1, n_heads=2, d_model=6))
    >>> tap_shapes(model)["blocks.0.attention.q"]
    ('batch', 2, 'time', 3)
    """
    axes: dict[tuple[int, int], str] = {}
    if batch:
        batches = [batch, tuple(array[:-1] for array in batch)]
    else:
        times = SMALL_TIME, min(SMALL_TIME + 1, model.config.context_length)
        axes[times] = "time"
        batches = [
            (np.zeros((SMALL_BATCH + more, time), np.int64),) * 2 for more, time in enumerate(times)
        ]
    axes[len(batches[0][0]), len(batches[1][0])] = "batch"
    with untouched(model, training=False):
        first, second = (_shapes_of_pass(model, arrays) for arrays in batches)
    model.forget()
    return {
        name: tuple(
            axes[pair] if pair[0] != pair[1] else pair[0]
            for pair in zip(shape, second[name], strict=True)
        )
        for name, shape in first.items()
    }


def _shapes_of_pass(model: Model, batch: tuple[Any, ...]) -> dict[str, tuple[int, ...]]:
    with record(model, max_bytes=sys.maxsize) as tape:
        model.loss(*batch)
    return {name: recorded.value.shape for name, recorded in tape.items()}
