"""Cross-entropy loss."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from npgpt import ops
from npgpt.fields import LARGEST, check_real, check_whole, short_repr
from npgpt.layers.core.layer import Layer
from npgpt.ops import IGNORE_INDEX
from npgpt.ops.array import Array


class Compared(NamedTuple):
    """What `CrossEntropy` keeps: logits and targets, and each row's ``log sum exp``."""

    logits: Array
    targets: Array
    lse: Array

    def __repr__(self) -> str:
        return short_repr(self)


class CrossEntropy(Layer):
    """Mean negative log-likelihood of the target ids under softmax(logits), in nats.

    ``loss = mean over positions of (log sum_v exp(logits_v) - logits_target)``.

    Parameters
    ----------
    ignore_index : int
        Positions with this target do not count: no loss, no gradient (-100 as in PyTorch).
    label_smoothing : float
        ``e``, from 0 to 1: the share of each target that is spread over all ``K`` tokens evenly
        (Szegedy et al. 2016, arXiv 1512.00567, section 7), ``(1 - e) nll - e / K sum_v log p_v`` as
        in PyTorch. Certainty then costs, and the model stays open to other words.

    Raises
    ------
    ValueError
        If ``label_smoothing`` is outside [0, 1].
    """

    def __init__(self, ignore_index: int = IGNORE_INDEX, label_smoothing: float = 0.0):
        super().__init__()
        check_whole("CrossEntropy", -LARGEST, ignore_index=ignore_index)
        check_real("CrossEntropy", label_smoothing=label_smoothing)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(
                f"CrossEntropy: label_smoothing must be from 0 to 1, got {label_smoothing}."
            )
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

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
        loss, lse = ops.cross_entropy_forward(logits, targets, **self.choices)
        self.keep(Compared(logits, targets, lse))
        return loss

    def backward(self, dloss: float = 1.0) -> Array:
        """Return the gradient of the logits, scaled by that of the loss."""
        logits, targets, lse = self.recall()
        return ops.cross_entropy_backward(dloss, logits, targets, lse, **self.choices)

    @property
    def choices(self) -> dict[str, Any]:
        """What the operations take by name."""
        return {"ignore_index": self.ignore_index, "label_smoothing": self.label_smoothing}

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
