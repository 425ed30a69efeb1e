"""Sinusoidal position embedding."""

import functools

import numpy as np

from npgpt import ops
from npgpt.layers.base import Layer


class SinusoidalEmbedding(Layer):
    """Sines and cosines of the position at geometrically spaced wavelengths.

    ``y[t, 2i] = x[t, 2i] + scale sin(t / 10000^(2i/d_model))``, and the cosine at ``2i + 1``
    (Vaswani et al. 2017, section 3.5). Nothing is learned, and any length has its rows.

    Parameters
    ----------
    d_model : int
    scale : float
        Of the rows. The paper multiplies token embeddings by ``sqrt(d_model)`` instead, so that
        both parts of the sum are of one size.
    """

    def __init__(self, d_model, scale=1.0):
        super().__init__()
        self.d_model, self.scale = d_model, scale

    def forward(self, x, offset=0):
        """Add the rows of positions ``offset ..`` to ``x``, (batch, time, d_model)."""
        self._check_last_axis(x, self.d_model, "d_model")
        return x + self.rows_for(x.shape, x.dtype, offset)

    def rows_for(self, shape, dtype, offset=0):
        """Return the rows that belong to ``x`` of a shape (batch, time, d_model), to be added."""
        self.saved = shape
        last = offset + shape[-2]
        rows = _table(1 << (last - 1).bit_length(), self.d_model, self.scale, np.dtype(dtype))
        return rows[offset:last]

    def backward(self, dy):
        """Return ``dy``, the gradient of ``x``."""
        self._check_dy(dy, self._recall())
        return dy


@functools.lru_cache(maxsize=4)
def _table(length, d_model, scale, dtype):
    return (scale * ops.sinusoids(np.arange(length), d_model)).astype(dtype)
