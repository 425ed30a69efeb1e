"""Token embedding as a matrix product."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgpt.layers.core.layer import Layer
from npgpt.layers.linear import Linear
from npgpt.ops.array import Array


class OneHotEmbedding(Layer):
    """One-hot vectors of the ids through a `Linear` without bias: what `Embedding` does, in full.

    ``y = onehot(ids) W^T``. Outputs and gradients are those of the lookup, for vocab_size times the
    work.

    Parameters
    ----------
    vocab_size, d_model : int
    std, rng, dtype
        As for `Embedding`.

    Attributes
    ----------
    linear : Linear
        With a weight of shape (d_model, vocab_size), the transposed table.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        std: float = 0.02,
        rng: np.random.Generator | int | None = None,
        dtype: Any = np.float32,
    ):
        super().__init__()
        self.vocab_size = vocab_size
        self.linear = Linear(vocab_size, d_model, bias=False, std=std, rng=rng, dtype=dtype)

    def forward(self, token_ids: Array) -> Array:
        """Map ids of shape (...) to (..., d_model).

        Raises
        ------
        ValueError
            If the ids are not integers, or one is not in ``range(vocab_size)``.
        """
        token_ids = np.asarray(token_ids)
        if (
            token_ids.dtype.kind not in "iu"
            or not ((token_ids >= 0) & (token_ids < self.vocab_size)).all()
        ):
            raise ValueError(
                f"{self._where()}: token ids must be integers from 0 to {self.vocab_size - 1}."
            )
        one_hot = np.zeros((*token_ids.shape, self.vocab_size), self.linear.weight.value.real.dtype)
        np.put_along_axis(one_hot, token_ids[..., None], 1, axis=-1)
        self.keep(one_hot)
        return self.linear.forward(one_hot)

    def backward(self, dy: Array) -> None:
        """Add to the weight's gradient. Ids have no gradient: returns None."""
        self.recall()
        self.linear.backward(dy)
