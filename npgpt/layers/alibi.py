"""Attention with linear biases."""

import numpy as np

from npgpt import ops
from npgpt.layers.base import Layer


class ALiBi(Layer):
    """A penalty on each score that grows with the distance: ``bias[h, d] = -slope_h |d|``.

    (Press, Smith and Lewis 2022, arXiv 2108.12409.) Nothing is learned, and a model runs past the
    length that it was trained at.

    Parameters
    ----------
    n_heads : int
        The slopes of a power of two are ``2^(-8/n), 2^(-16/n), ..., 2^-8``.
    """

    learned = False

    def __init__(self, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.slopes = ops.alibi_slopes(n_heads)

    def forward(self, keys, dtype=np.float32, time=1):
        """Return the biases of distances ``1-time .. keys-1``, (n_heads, time + keys - 1)."""
        self.saved = self.n_heads, time + keys - 1
        return (-self.slopes[:, None] * np.abs(np.arange(1 - time, keys))).astype(dtype)

    def backward(self, dbias):
        """Return None: nothing is learned, and distances have no gradient."""
        self._check_dy(dbias, self._recall())
