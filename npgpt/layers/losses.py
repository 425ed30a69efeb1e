"""Cross-entropy loss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npgpt import ops
from npgpt.layers.core.layer import Layer
from npgpt.ops import IGNORE_INDEX
from npgpt.ops.array import Array


class Compared(NamedTuple):
    """What `CrossEntropy` keeps: logits and targets, and each row's ``log sum exp``."""

    logits: Array
    targets: Array
    lse: Array


class CrossEntropy(Layer):
    """Mean negative log-likelihood of the target ids under softmax(logits), in nats.

    ``loss = mean over positions of (log sum_v exp(logits_v) - logits_target)``.

    Parameters
    ----------
    ignore_index : int
        Positions with this target do not count: no loss, no gradient (-100 as in PyTorch).
    """

    def __init__(self, ignore_index: int = IGNORE_INDEX):
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Array, targets: Array) -> np.floating:
        """Compute the mean loss, a scalar.

        Parameters
        ----------
        logits : ndarray, shape (..., vocab_size)
        targets : ndarray of int, shape (...)

        Raises
        ------
        ValueError
            If the shapes do not fit, a target is outside the vocabulary, or none counts.
        """
        self._check_array(logits, "logits")
        targets = self.checked_targets(targets, logits.shape)
        loss, lse = ops.cross_entropy_forward(logits, targets, ignore_index=self.ignore_index)
        self.keep(Compared(logits, targets, lse))
        return loss

    def backward(self, dloss: float = 1.0) -> Array:
        """Return the gradient of the logits, scaled by that of the loss."""
        logits, targets, lse = self.recall()
        return ops.cross_entropy_backward(
            dloss, logits, targets, lse, ignore_index=self.ignore_index
        )

    def checked_targets(self, targets: Array, logits_shape: tuple[int, ...]) -> Array:
        """Return targets as an array.

        Parameters
        ----------
        targets : array_like of int, shape (...)
        logits_shape : tuple of int
            (..., vocab_size).

        Raises
        ------
        ValueError
            As `forward` does.
        """
        targets = np.asarray(targets)
        if targets.shape != logits_shape[:-1]:
            raise ValueError(
                f"{self._where()}: targets must have the logits' shape without the vocabulary, "
                f"{logits_shape[:-1]}, got {targets.shape}."
            )
        if targets.dtype.kind not in "iu":
            raise ValueError(f"{self._where()}: targets must be integers, got {targets.dtype}.")
        counted = targets[targets != self.ignore_index]
        if not counted.size:
            raise ValueError(
                f"{self._where()}: every target is ignore_index ({self.ignore_index}), so there is "
                "no mean to take."
            )
        if counted.min() < 0 or counted.max() >= logits_shape[-1]:
            wrong = counted[(counted < 0) | (counted >= logits_shape[-1])][0]
            raise ValueError(
                f"{self._where()}: target {wrong} is outside the vocabulary of {logits_shape[-1]} "
                f"tokens and is not ignore_index ({self.ignore_index})."
            )
        return targets
