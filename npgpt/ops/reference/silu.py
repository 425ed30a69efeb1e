"""The sigmoid-weighted linear unit (Elfwing, Uchibe and Doya 2017, arXiv 1702.03118, eq. 5)."""

import numpy as np

from npgpt.ops.array import Array

__all__ = ["silu_backward", "silu_forward"]


def silu_forward(x: Array, bias: Array | None = None) -> Array:
    """Compute ``y = x * sigmoid(x)``.

    Parameters
    ----------
    x : ndarray, shape (..., d_ff)
    bias : ndarray, shape (d_ff,), optional
        Added to ``x`` first.

    Returns
    -------
    ndarray, same shape
    """
    x = x if bias is None else x + bias
    return x / (1.0 + np.exp(-x))


def silu_backward(
    dy: Array, x: Array, bias: Array | None = None, *, dbias: Array | None = None
) -> Array:
    """Send ``dy`` back: ``dx = dy * (s + x s (1 - s))`` with ``s = sigmoid(x)``.

    Parameters
    ----------
    dy, x : ndarray, shape (..., d_ff)
    bias : ndarray, shape (d_ff,), optional
        As in forward.
    dbias : ndarray, shape (d_ff,), optional
        Added to in place.

    Returns
    -------
    ndarray, same shape
        The gradient of ``x``.
    """
    x = x if bias is None else x + bias
    sigmoid = 1.0 / (1.0 + np.exp(-x))
    # term 1: x as a factor; term 2: x inside the sigmoid
    dx = dy * (sigmoid + x * sigmoid * (1.0 - sigmoid))
    if dbias is not None:
        dbias += dx.reshape(-1, dx.shape[-1]).sum(axis=0)
    return dx
