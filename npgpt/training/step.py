"""One optimiser step: what `Trainer`, `measure_step` and the benchmarks do alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npgpt.models.model import Model
from npgpt.optim import Optimizer, grad_norm

Batch = tuple[np.ndarray, ...]


def train_step(
    model: Model,
    optimizer: Optimizer,
    batches: Sequence[Batch],
    clip_norm: float = 1.0,
    on_gradients: Callable[[], Any] = lambda: None,
) -> tuple[float, float]:
    """Accumulate the gradients of some batches, clip them by their norm, and update.

    The loss is the mean over all targets of the batches together: a batch with more of them counts
    for more, one without any for nothing.

    Parameters
    ----------
    model : Model
    optimizer : Optimizer
    batches : sequence of tuples of ndarray
    clip_norm : float
        Largest global gradient norm; 0 does not clip.
    on_gradients : function
        Called when the gradients are whole, before they are clipped and used.

    Returns
    -------
    loss, grad_norm : float
        The norm before clipping.

    Raises
    ------
    RuntimeError
        If either is no longer finite; the weights are those of before.
    """
    optimizer.zero_grad()
    counts = [model.num_targets(*batch) for batch in batches]
    loss = 0.0
    for batch, count in zip(batches, counts, strict=True):
        if count == 0:
            continue  # it has no mean, as when no token of it was masked
        share = count / sum(counts)
        loss += share * float(model.loss_and_backward(*batch, dloss=share))
    norm = grad_norm(optimizer.parameters)
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise RuntimeError(
            f"Step {optimizer.step_count + 1}: the loss is {loss:g} and the gradient norm "
            f"{norm:g}, so training cannot go on; a learning rate below {optimizer.lr:g} may help."
        )
    on_gradients()
    # clipping by the norm, without a pass of its own
    optimizer.step(grad_scale=clip_norm / norm if 0.0 < clip_norm < norm else 1.0)
    return loss, norm
