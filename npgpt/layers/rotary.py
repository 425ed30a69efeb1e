"""Rotary position embedding."""

import functools

import numpy as np

from npgpt import ops
from npgpt.layers.base import Layer


class RotaryEmbedding(Layer):
    """RoPE: turn each pair of features of queries and keys by an angle that grows with position.

    At position ``m`` features ``i`` and ``i + head_size / 2`` turn by ``m theta^(-2i/head_size)``
    (Su et al. 2021, arXiv 2104.09864). Scores then depend on the distance of query and key, and
    nothing is learned, so a model runs past the length that it was trained at.

    Parameters
    ----------
    head_size : int
        Even.
    theta : float
        The longest wavelength is about ``2 pi theta`` positions.

    Raises
    ------
    ValueError
        If the head size is odd, or theta is not positive.

    Notes
    -----
    Backward turns the gradient by the opposite angle.
    """

    def __init__(self, head_size, theta=10000.0):
        super().__init__()
        if head_size < 2 or head_size % 2:
            raise ValueError(
                f"RotaryEmbedding: features are turned in pairs, so the head size must be even, "
                f"got {head_size}."
            )
        if not theta > 0.0:
            raise ValueError(f"RotaryEmbedding: theta must be positive, got {theta}.")
        self.head_size, self.theta = head_size, theta

    def forward(self, x, offset=0, out=None):
        """Turn (batch, heads, time, head_size), whose first position is ``offset``.

        ``out``, where the result goes, may be ``x`` itself.
        """
        self._check_last_axis(x, self.head_size, "head_size")
        self.saved = x.shape, offset
        return ops.rotary_forward(x, *self._angles(x, offset), out)

    def forward_at(self, x, positions):
        """Turn one position of each sequence, (batch, heads, 1, head_size); no backward follows.

        ``positions`` are integers of shape (batch,).
        """
        self._check_last_axis(x, self.head_size, "head_size")
        last = int(positions.max()) + 1
        tables = _tables(1 << (last - 1).bit_length(), self.head_size, self.theta, x.real.dtype)
        # the sequences take the place of time: each has a position of its own
        turned = ops.rotary_forward(x.swapaxes(0, 2), *(table[positions] for table in tables))
        return turned.swapaxes(0, 2)

    def backward(self, dy, out=None):
        """Return the gradient of ``x``, for any number of heads at the positions of forward."""
        (*_, time, head_size), _ = self._recall()
        self._check_dy(dy, (*dy.shape[:2], time, head_size))
        return ops.rotary_backward(dy, *self._angles(dy, self.saved[1]), out)

    def _angles(self, x, offset):
        last = offset + x.shape[2]
        tables = _tables(1 << (last - 1).bit_length(), self.head_size, self.theta, x.real.dtype)
        return tuple(table[offset:last] for table in tables)


@functools.lru_cache(maxsize=16)
def _tables(length, head_size, theta, dtype):
    tables = ops.rotary_angles(np.arange(length), head_size, theta)
    return tuple(table.astype(dtype) for table in tables)
