"""The gated linear unit (Dauphin, Fan, Auli and Grangier 2017, arXiv 1612.08083, eq. 1).

Its input is twice as wide as its output: the first half are the values, the second their gates.
"""

import numpy as np

from npgpt.ops.array import Array

__all__ = ["glu_backward", "glu_forward"]


def glu_forward(x: Array, bias: Array | None = None) -> Array:
    """Compute ``y = value * sigmoid(gate)`` with ``value, gate = split(x)``.

    Parameters
    ----------
    x : ndarray, shape (..., 2 * d_out)
    bias : ndarray, shape (2 * d_out,), optional
        Added to ``x`` first.

    Returns
    -------
    ndarray, shape (..., d_out)
    """
    x = x if bias is None else x + bias
    value, gate = np.split(x, 2, axis=-1)
    return value / (1.0 + np.exp(-gate))


def glu_backward(
    dy: Array, x: Array, bias: Array | None = None, *, dbias: Array | None = None
) -> Array:
    """Send ``dy`` back to values and gates.

    With ``s = sigmoid(gate)``: ``dvalue = dy * s`` and ``dgate = dy * value * s * (1 - s)``.

    Parameters
    ----------
    dy : ndarray, shape (..., d_out)
    x : ndarray, shape (..., 2 * d_out)
    bias : ndarray, shape (2 * d_out,), optional
        As in forward.
    dbias : ndarray, shape (2 * d_out,), optional
        Added to in place.

    Returns
    -------
    ndarray, shape (..., 2 * d_out)
        The gradient of ``x``.
    """
    x = x if bias is None else x + bias
    value, gate = np.split(x, 2, axis=-1)
    sigmoid = 1.0 / (1.0 + np.exp(-gate))
    dvalue = dy * sigmoid
    dgate = dy * value * sigmoid * (1.0 - sigmoid)
    dx = np.concatenate([dvalue, dgate], axis=-1)
    if dbias is not None:
        dbias += dx.reshape(-1, dx.shape[-1]).sum(axis=0)
    return dx
