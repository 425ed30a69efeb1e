"""What the language models of this package share: a head, and the loss of each next token."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from npgpt.layers.heads import head_loss
from npgpt.models.model import LanguageModel, Model, TokenBatch, num_filled
from npgpt.models.with_head import ModelWithHead


class NextTokenModel(ModelWithHead, LanguageModel):
    """A language model whose head reads a hidden state at each position.

    A family makes ``head`` and ``cross_entropy``, and defines `hidden_states` and
    `backward_from_hidden`.
    """

    Batch: ClassVar[type] = TokenBatch

    token_embedding: Any  # an Embedding, or what stands in its place
    position_embedding: Any = None  # where a family adds rows by position

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
        return self._loss_and_backward([token_ids], targets, dloss)

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
        return self._num_counted(targets)

    def num_tokens(self, token_ids, targets) -> int:
        """Count the tokens up to each row's last target: those behind it change nothing."""
        return num_filled(targets)


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
