"""The rectifier (Nair and Hinton 2010, ICML, section 2)."""

import numpy as np

from npgpt.ops.array import Array

__all__ = ["relu_backward", "relu_forward"]


def relu_forward(x: Array, bias: Array | None = None) -> Array:
    """Compute ``y = x`` where ``x > 0``, else 0.

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
    return np.where(x.real > 0, x, x.dtype.type(0))


def relu_backward(
    dy: Array, x: Array, bias: Array | None = None, *, dbias: Array | None = None
) -> Array:
    """Send ``dy`` back where ``x > 0``; at 0 the derivative is taken as 0.

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
    dx = np.where(x.real > 0, dy, dy.dtype.type(0))
    if dbias is not None:
        dbias += dx.reshape(-1, dx.shape[-1]).sum(axis=0)
    return dx
