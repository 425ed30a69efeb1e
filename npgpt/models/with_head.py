"""What models share whose head reads hidden states: the loss of its logits, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from npgpt.layers import CrossEntropy, OutputHead, flatten_trained
from npgpt.layers.core.layer import does_as
from npgpt.layers.heads import head_loss_and_backward
from npgpt.models.model import Model


class ModelWithHead(Model):
    """A model whose loss is the cross-entropy of what its head makes of hidden states.

    A family makes ``head`` and ``cross_entropy``, and defines `hidden_states` and
    `backward_from_hidden`. The last array of its batches are the targets, -100 where they do not
    count; `hidden_states` reads the others.
    """

    head: OutputHead
    cross_entropy: CrossEntropy
    dtype: np.dtype

    def hidden_states(self, *inputs: Any) -> np.ndarray:
        """Compute what the head reads, (batch, time, d_model), of a batch without its targets."""
        raise TypeError(f"{type(self).__name__} has no hidden_states; a model must define it.")

    def backward_from_hidden(self, dx: np.ndarray) -> None:
        """Send a gradient of the last `hidden_states`, (batch, time, d_model), back."""
        raise TypeError(
            f"{type(self).__name__} has no backward_from_hidden; a model must define it."
        )

    def astype(self, dtype):
        """Convert every parameter to a dtype; returns the model."""
        super().astype(dtype)
        self.dtype = np.dtype(dtype)
        flatten_trained(self)
        return self

    def backward(self, dloss: float = 1.0) -> None:
        """Add the gradient of `loss`, times ``dloss``, to every parameter's ``.grad``.

        Gradients add up over calls: for the mean over ``n`` batches, call it after each batch's
        loss with ``dloss=1 / n``.
        """
        if self.cross_entropy.saved is None and does_as(self.cross_entropy, CrossEntropy):
            raise RuntimeError(
                f"{type(self).__name__}: backward needs a call of loss before it; after forward "
                "alone, backward_from_logits(dlogits) sends a gradient of the logits back."
            )
        if np.ndim(dloss):
            raise ValueError(
                f"{type(self).__name__}: backward takes dloss, one number, got an array of shape "
                f"{np.shape(dloss)}; backward_from_logits takes the gradient of logits."
            )
        self.backward_from_logits(self.cross_entropy.backward(dloss))

    def backward_from_logits(self, dlogits: np.ndarray) -> None:
        """Send a gradient of the logits of the last `forward` back through the model.

        Parameters
        ----------
        dlogits : ndarray, shape (batch, time, vocab_size)
        """
        self.backward_from_hidden(self.head.backward(dlogits))

    def _loss_and_backward(
        self, inputs: Sequence[Any], targets: np.ndarray, dloss: float
    ) -> np.floating:
        """Compute the loss and its gradients with no more logits at a time than a chunk."""
        if self.head.is_listened_to("logits"):
            loss = self.loss(*inputs, targets)
            self.backward(dloss)
            return loss
        x = self.hidden_states(*inputs)
        loss, dx = head_loss_and_backward(self.head, x, targets, self.cross_entropy, dloss)
        self.backward_from_hidden(dx)
        return loss

    def _num_counted(self, targets: np.ndarray) -> int:
        return int(np.count_nonzero(np.asarray(targets) != self.cross_entropy.ignore_index))
