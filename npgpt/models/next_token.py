"""What the language models of this package share: a head, and the loss of each next token."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from npgpt.layers import CrossEntropy, OutputHead, flatten_trained
from npgpt.layers.core.layer import does_as
from npgpt.layers.heads import head_loss, head_loss_and_backward
from npgpt.models.model import LanguageModel, Model, TokenBatch, num_filled


class NextTokenModel(LanguageModel):
    """A language model whose head reads a hidden state at each position.

    A family makes ``head`` and ``cross_entropy``, and defines `hidden_states` and
    `backward_from_hidden`.
    """

    Batch: ClassVar[type] = TokenBatch

    token_embedding: Any  # an Embedding, or what stands in its place
    position_embedding: Any = None  # where a family adds rows by position
    head: OutputHead
    cross_entropy: CrossEntropy
    dtype: np.dtype

    def hidden_states(self, token_ids) -> np.ndarray:
        """Compute what the head reads, (batch, time) -> (batch, time, d_model)."""
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

    def forward(self, token_ids) -> np.ndarray:
        """Compute the logits of the next token at every position.

        Parameters
        ----------
        token_ids : ndarray of int, shape (batch, time)

        Returns
        -------
        ndarray, shape (batch, time, vocab_size)

        Raises
        ------
        ValueError
            If an id is outside the vocabulary, or the sequence is longer than the context.
        """
        return self.head.forward(self.hidden_states(token_ids))

    def loss(self, token_ids, targets) -> np.floating:
        """Compute the mean cross-entropy of the targets, in nats; `backward` may follow.

        Parameters
        ----------
        token_ids, targets : ndarray of int, shape (batch, time)
            Targets of -100 are ignored.
        """
        return self.cross_entropy.forward(self.forward(token_ids), targets)

    def loss_and_backward(self, token_ids, targets, dloss: float = 1.0) -> np.floating:
        """Compute `loss` and do `backward` in one go, as training does.

        The logits are made, used and forgotten a chunk at a time, which takes less time and much
        less memory; (batch, time, vocab_size) numbers never exist.

        Parameters
        ----------
        token_ids, targets : ndarray of int, shape (batch, time)
            Targets of -100 are ignored.
        dloss : float
            As for `backward`.

        Returns
        -------
        scalar
            The loss.
        """
        if self.head.is_listened_to("logits"):
            loss = self.loss(token_ids, targets)
            self.backward(dloss)
            return loss
        x = self.hidden_states(token_ids)
        loss, dx = head_loss_and_backward(self.head, x, targets, self.cross_entropy, dloss)
        self.backward_from_hidden(dx)
        return loss

    def evaluation_loss(self, token_ids, targets) -> np.floating:
        """Compute `loss` a chunk of logits at a time, when no `backward` follows.

        Parameters
        ----------
        token_ids, targets : ndarray of int, shape (batch, time)
            Targets of -100 are ignored.
        """
        return head_loss(self.head, self.hidden_states(token_ids), targets, self.cross_entropy)

    def num_targets(self, token_ids, targets) -> int:
        """Count the targets that are not ignored: what the loss is the mean of."""
        return int(np.count_nonzero(np.asarray(targets) != self.cross_entropy.ignore_index))

    def num_tokens(self, token_ids, targets) -> int:
        """Count the tokens up to each row's last target: those behind it change nothing."""
        return num_filled(targets)

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


def check_predicts_next(model: Model, what: str) -> None:
    """Refuse a model that does not read tokens and predict the next one.

    Parameters
    ----------
    model : Model
    what : str
        What only such a model can do; the message begins with it.

    Raises
    ------
    ValueError
        If the model is another one.
    """
    if not isinstance(model, NextTokenModel):
        raise ValueError(
            f"{what} needs a model that predicts the next token from those before it, and this is "
            f"a {type(model).__name__}; npgpt train makes one."
        )
