"""Numbers that stand for positions, and for distances between them."""

import numpy as np

from npgpt.ops.array import Array

__all__ = ["alibi_slopes", "relative_buckets", "sinusoids"]


def sinusoids(positions: Array, d_model: int) -> Array:
    """Compute sinusoids of geometrically spaced wavelengths (Vaswani et al. 2017, section 3.5).

    ``y[t, 2i] = sin(t / 10000^(2i / d_model))``, ``y[t, 2i + 1]`` the cosine of the same angle.

    Parameters
    ----------
    positions : ndarray of int, shape (time,)
    d_model : int

    Returns
    -------
    ndarray of float64, shape (time, d_model)
    """
    pairs = np.arange(d_model) // 2
    angles = np.asarray(positions)[:, None] / 10000.0 ** (2.0 * pairs / d_model)
    even = np.arange(d_model) % 2 == 0
    return np.where(even, np.sin(angles), np.cos(angles))


def alibi_slopes(n_heads: int) -> Array:
    """Compute the slope of each head's penalty on distance (Press et al. 2022, arXiv 2108.12409).

    ``2^(-8h / n_heads)``, h from 1, where ``n_heads`` is a power of two; else those of the power
    of two below, and every other one of twice as many heads, as in the paper's code.

    Parameters
    ----------
    n_heads : int

    Returns
    -------
    ndarray of float64, shape (n_heads,)
    """
    power = 1 << (n_heads.bit_length() - 1)  # the largest power of two that is not larger
    slopes = 2.0 ** (-8.0 * np.arange(1, power + 1) / power)
    between = 2.0 ** (-4.0 * np.arange(1, 2 * power + 1, 2) / power)
    return np.concatenate([slopes, between[: n_heads - power]])


def relative_buckets(
    distances: Array, num_buckets: int = 32, max_distance: int = 128, bidirectional: bool = False
) -> Array:
    """Sort distances into buckets (Raffel et al. 2020, arXiv 1910.10683, section 2.1).

    The first half of the buckets hold one distance each; the others grow in geometric steps up to
    ``max_distance``, and the last one holds all that is farther.

    Parameters
    ----------
    distances : ndarray of int
        How far back the key is; not below 0, unless both sides have buckets.
    num_buckets, max_distance : int
    bidirectional : bool
        Whether keys after the query (distances below 0) have buckets of their own, the second half,
        as in T5's encoder; keys before it share the first.

    Returns
    -------
    ndarray of int64, same shape
    """
    distances = np.asarray(distances)
    first = np.zeros((), np.int64)
    if bidirectional:
        num_buckets //= 2
        first = np.where(distances < 0, num_buckets, 0)
        distances = np.abs(distances)
    exact = num_buckets // 2
    growth = np.log(np.maximum(distances, 1) / exact) / np.log(max_distance / exact)
    far = exact + (growth * (num_buckets - exact)).astype(np.int64)
    return first + np.where(distances < exact, distances, np.minimum(far, num_buckets - 1))
