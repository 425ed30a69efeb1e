"""Convolution over time, blind to the future (van den Oord et al. 2016, arXiv 1609.03499)."""

from __future__ import annotations

import numpy as np

from npgpt.ops.array import Array

__all__ = ["causal_conv1d_backward", "causal_conv1d_forward"]


def causal_conv1d_forward(
    x: Array, weight: Array, bias: Array | None = None, *, dilation: int = 1
) -> Array:
    """Convolve over time: ``y_t = b + sum_j W_j x_s`` with ``s = t - (kernel - 1 - j) dilation``.

    Before the first position there are zeros. It is PyTorch's ``conv1d`` with
    ``(kernel - 1) * dilation`` zeros on the left.

    Parameters
    ----------
    x : ndarray, shape (batch, time, d_in)
    weight : ndarray, shape (d_out, d_in, kernel)
    bias : ndarray, shape (d_out,), optional
    dilation : int
        Distance between the positions that one output reads.

    Returns
    -------
    ndarray, shape (batch, time, d_out)
    """
    time, (d_out, _, kernel) = x.shape[1], weight.shape
    y = np.zeros((*x.shape[:2], d_out), x.dtype)
    for j in range(kernel):
        shift = min((kernel - 1 - j) * dilation, time)
        y[:, shift:] += x[:, : time - shift] @ weight[:, :, j].T
    return y if bias is None else y + bias


def causal_conv1d_backward(
    dy: Array, x: Array, weight: Array, *, dilation: int = 1, dweight: Array | None = None,
    dbias: Array | None = None,
) -> Array:  # fmt: skip
    """Send ``dy`` back: each position's gradient comes from the later outputs that read it.

    ``dx_s = sum_j W_j^T dy_t`` and ``dW_j += sum_t dy_t x_s^T``, with ``s`` as in forward;
    ``db += sum_t dy_t``.

    Parameters
    ----------
    dy : ndarray, shape (batch, time, d_out)
    x : ndarray, shape (batch, time, d_in)
    weight : ndarray, shape (d_out, d_in, kernel)
    dilation : int
    dweight, dbias : ndarray, optional
        Added to in place.

    Returns
    -------
    ndarray, shape (batch, time, d_in)
        The gradient of ``x``.
    """
    time, kernel = x.shape[1], weight.shape[2]
    dx = np.zeros_like(x)
    for j in range(kernel):
        shift = min((kernel - 1 - j) * dilation, time)
        dy_rows, x_rows = dy[:, shift:], x[:, : time - shift]  # the pairs that met in forward
        dx[:, : time - shift] += dy_rows @ weight[:, :, j]
        if dweight is not None:
            dweight[:, :, j] += np.tensordot(dy_rows, x_rows, axes=((0, 1), (0, 1)))
    if dbias is not None:
        dbias += dy.sum(axis=(0, 1))
    return dx
