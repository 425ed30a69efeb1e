"""Token embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgpt import ops
from npgpt.layers.core.init import Unfilled, normal
from npgpt.layers.core.layer import Layer, does_as
from npgpt.layers.core.parameter import Parameter
from npgpt.ops.array import Array


class Embedding(Layer):
    """A table with one row for each token id; forward looks rows up.

    Parameters
    ----------
    vocab_size, d_model : int
    std : float
        Standard deviation of the normal distribution that the table starts from.
    rng : numpy.random.Generator or int, optional
    dtype : dtype

    Attributes
    ----------
    weight : Parameter, shape (vocab_size, d_model)

    Notes
    -----
    ``y = onehot(ids) W``, so ``dW += onehot(ids)^T dy``: ids that repeat sum their gradients.
    """

    IN_STEPS = True

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        std: float = 0.02,
        rng: np.random.Generator | Unfilled | int | None = None,
        dtype: Any = np.float32,
    ):
        super().__init__()
        self.vocab_size, self.d_model = vocab_size, d_model
        self.weight = Parameter(normal(rng, (vocab_size, d_model), std, dtype))

    def forward(self, token_ids: Array, rows: Array | None = None) -> Array:
        """Look up ids of shape (...); returns (..., d_model).

        Parameters
        ----------
        token_ids : ndarray of int, shape (...)
        rows : ndarray, shape (time, d_model), optional
            Added to those of each sequence, such as a row for each position; ids then have shape
            (..., time).

        Raises
        ------
        ValueError
            If the ids are not integers, or one is not in ``range(vocab_size)``.
        """
        token_ids = self.checked(token_ids)
        self.keep(token_ids)
        return ops.embedding_forward(token_ids, self.weight.value, rows)

    def checked(self, token_ids: Array) -> Array:
        """Return ids as an array, or raise ValueError as `forward` does."""
        token_ids = np.asarray(token_ids)
        if token_ids.dtype.kind not in "iu":
            raise ValueError(
                f"{self._where()}: token ids must be integers, got dtype {token_ids.dtype}."
            )
        if token_ids.size and not (token_ids.min() >= 0 and token_ids.max() < self.vocab_size):
            outside = (token_ids < 0) | (token_ids >= self.vocab_size)
            place = tuple(int(i) for i in np.argwhere(outside)[0])
            raise ValueError(
                f"{self._where()}: token id {token_ids[place]} at index {place} is outside the "
                f"vocabulary of {self.vocab_size} tokens (0 to {self.vocab_size - 1})."
            )
        return token_ids

    def backward(self, dy: Array) -> None:
        """Add to the table's gradient. Ids have no gradient: returns None."""
        token_ids = self.recall()
        self._check_dy(dy, (*token_ids.shape, self.d_model))
        dweight = self.weight.grad
        if dweight is not None:  # there is no other gradient to compute
            ops.embedding_backward(dy, token_ids, dweight=dweight)


def adds_rows(embedding: Layer) -> bool:
    """Whether an embedding's forward takes the rows of positions, and adds them in its own pass."""
    return not embedding.is_foreign or does_as(embedding, Embedding)
