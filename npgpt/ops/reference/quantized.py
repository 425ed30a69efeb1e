"""Weights in fewer bits, for inference: int8 with a scale for each output, and bfloat16.

bfloat16 is the upper half of a float32, kept here as its bits in uint16, because NumPy has no such
dtype.
"""

import numpy as np

from npgpt.ops.array import Array
from npgpt.ops.reference.linear import linear_forward

__all__ = ["from_bits", "quantized_linear_forward", "to_bfloat16", "to_int8"]


def to_int8(weight: Array) -> tuple[Array, Array]:
    """Round a matrix to int8, one scale for each row: ``weight[j] = scales[j] * rounded[j]``.

    Parameters
    ----------
    weight : ndarray of float32, shape (d_out, d_in)

    Returns
    -------
    rounded : ndarray of int8, shape (d_out, d_in)
        From -127 to 127.
    scales : ndarray of float32, shape (d_out,)
        The largest magnitude of the row over 127, so that an error is at most half a scale.
    """
    scales = np.maximum(weight.max(axis=1), -weight.min(axis=1)) / np.float32(127.0)
    scales = np.where(scales > 0.0, scales, np.float32(1.0)).astype(np.float32)
    return np.rint(weight / scales[:, None]).astype(np.int8), scales


def to_bfloat16(weight: Array) -> Array:
    """Round float32 to bfloat16, to the nearest and to even in the middle; returns its bits."""
    bits = np.ascontiguousarray(weight, np.float32).view(np.uint32)
    rounded = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
    return (rounded >> np.uint32(16)).astype(np.uint16)


def from_bits(weight: Array, scales: Array | None = None) -> Array:
    """Return the float32 numbers that int8 (with scales) or bfloat16 bits stand for.

    Parameters
    ----------
    weight : ndarray of int8 or uint16, shape (rows, columns)
    scales : ndarray of float32, shape (rows,), optional
        Of int8.
    """
    if scales is not None:
        return weight.astype(np.float32) * scales[..., None]
    return (weight.astype(np.uint32) << np.uint32(16)).view(np.float32)


def quantized_linear_forward(
    x: Array, weight: Array, scales: Array | None = None, bias: Array | None = None
) -> Array:
    """Compute ``y = x W^T + b`` with a weight of few bits.

    Parameters
    ----------
    x : ndarray of float32, shape (..., d_in)
    weight : ndarray of int8, or of uint16 with bfloat16's bits, shape (d_out, d_in)
    scales : ndarray of float32, shape (d_out,), optional
        Of int8.
    bias : ndarray, shape (d_out,), optional

    Returns
    -------
    ndarray, shape (..., d_out)
    """
    return linear_forward(x, from_bits(weight, scales), bias)
