"""Rotary position embedding (Su et al. 2021, arXiv 2104.09864, eq. 34).

Feature ``i`` and feature ``i + head_size / 2`` of a head are the two coordinates of a point in a
plane, and position ``m`` turns the point by the angle ``m * theta^(-2i / head_size)``. (The paper
pairs neighbours; halves are what GPT-NeoX and Llama's published weights pair. The two differ by the
order of the features.) A product ``q_m . k_n`` of turned vectors depends on ``m - n`` alone.
"""

import numpy as np

from npgpt.ops.array import Array

__all__ = ["rotary_angles", "rotary_backward", "rotary_forward"]


def rotary_angles(positions: Array, head_size: int, theta: float = 10000.0) -> tuple[Array, Array]:
    """Compute the cosine and the sine by which each position turns each pair of features.

    Parameters
    ----------
    positions : ndarray of int, shape (time,)
    head_size : int
        Even.
    theta : float

    Returns
    -------
    cos, sin : ndarray of float64, shape (time, head_size / 2)
    """
    frequencies = theta ** (-2.0 * np.arange(head_size // 2) / head_size)
    angles = np.asarray(positions)[:, None] * frequencies
    return np.cos(angles), np.sin(angles)


def rotary_forward(x: Array, cos: Array, sin: Array, *, out: Array | None = None) -> Array:
    """Turn each position of queries or keys.

    Parameters
    ----------
    x : ndarray, shape (batch, heads, time, head_size)
    cos, sin : ndarray, shape (time, head_size / 2)
        Of the positions, as `rotary_angles` gives them, in the dtype of ``x``.
    out : ndarray, optional
        Where the result goes; may be ``x`` itself.

    Returns
    -------
    ndarray, same shape
    """
    a, b = np.split(x, 2, axis=-1)
    y = np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)
    if out is None:
        return y
    out[...] = y
    return out


def rotary_backward(dy: Array, cos: Array, sin: Array, *, out: Array | None = None) -> Array:
    """Turn the gradient back: the transpose of a rotation is the rotation by the opposite angle.

    Parameters
    ----------
    dy : ndarray, shape (batch, heads, time, head_size)
    cos, sin, out
        As in forward.

    Returns
    -------
    ndarray, same shape
        The gradient of ``x``.
    """
    return rotary_forward(dy, cos, -sin, out=out)
