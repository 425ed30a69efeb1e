"""The gated linear unit with SiLU (Shazeer 2020, arXiv 2002.05202, eq. 5; Llama's feed-forward).

Its input is twice as wide as its output: the first half are the gates, the second what they let
through.
"""

import numpy as np

from npgpt.ops.array import Array

__all__ = ["swiglu_backward", "swiglu_forward"]


def swiglu_forward(x: Array, bias: Array | None = None) -> Array:
    """Compute ``y = silu(gate) * up`` with ``gate, up = split(x)`` and ``silu(g) = g sigmoid(g)``.

    Parameters
    ----------
    x : ndarray, shape (..., 2 * d_ff)
    bias : ndarray, shape (2 * d_ff,), optional
        Added to ``x`` first.

    Returns
    -------
    ndarray, shape (..., d_ff)
    """
    x = x if bias is None else x + bias
    gate, up = np.split(x, 2, axis=-1)
    return gate / (1.0 + np.exp(-gate)) * up


def swiglu_backward(
    dy: Array, x: Array, bias: Array | None = None, *, dbias: Array | None = None
) -> Array:
    """Send ``dy`` back to gates and inputs.

    With ``s = sigmoid(gate)``: ``dup = dy * gate * s`` and
    ``dgate = dy * up * (s + gate * s * (1 - s))``.

    Parameters
    ----------
    dy : ndarray, shape (..., d_ff)
    x : ndarray, shape (..., 2 * d_ff)
    bias : ndarray, shape (2 * d_ff,), optional
        As in forward.
    dbias : ndarray, shape (2 * d_ff,), optional
        Added to in place.

    Returns
    -------
    ndarray, shape (..., 2 * d_ff)
        The gradient of ``x``.
    """
    x = x if bias is None else x + bias
    gate, up = np.split(x, 2, axis=-1)
    sigmoid = 1.0 / (1.0 + np.exp(-gate))
    dup = dy * gate * sigmoid
    # term 1: the gate as a factor; term 2: the gate inside the sigmoid
    slope = sigmoid + gate * sigmoid * (1.0 - sigmoid)
    dgate = dy * up * slope
    dx = np.concatenate([dgate, dup], axis=-1)
    if dbias is not None:
        dbias += dx.reshape(-1, dx.shape[-1]).sum(axis=0)
    return dx
