"""The hyperbolic tangent."""

import numpy as np

from npgpt.ops.array import Array

__all__ = ["tanh_backward", "tanh_forward"]


def tanh_forward(x: Array, bias: Array | None = None) -> Array:
    """Compute ``y = tanh(x)``.

    Parameters
    ----------
    x : ndarray, shape (..., width)
    bias : ndarray, shape (width,), optional
        Added to ``x`` first.

    Returns
    -------
    ndarray, same shape
    """
    return np.tanh(x if bias is None else x + bias)


def tanh_backward(
    dy: Array, x: Array, bias: Array | None = None, *, dbias: Array | None = None
) -> Array:
    """Send ``dy`` back: ``dx = dy (1 - tanh(x)^2)``.

    Parameters
    ----------
    dy, x : ndarray, shape (..., width)
    bias : ndarray, shape (width,), optional
        As in forward.
    dbias : ndarray, shape (width,), optional
        Added to in place.

    Returns
    -------
    ndarray, same shape
        The gradient of ``x``.
    """
    y = tanh_forward(x, bias)
    dx = dy * (1.0 - y * y)
    if dbias is not None:
        dbias += dx.reshape(-1, dx.shape[-1]).sum(axis=0)
    return dx
