"""Softmax over the last axis, and the logarithm of its denominator."""

import numpy as np

from npgpt.ops.array import Array

__all__ = ["log_sum_exp", "softmax_backward", "softmax_forward"]


def log_sum_exp(scores: Array) -> Array:
    """Compute ``log(sum_s exp(scores_s))`` over the last axis without overflow.

    Parameters
    ----------
    scores : ndarray, shape (..., n)
        May hold ``-inf``, though not a whole row of it.

    Returns
    -------
    ndarray, shape (..., 1)
    """
    largest = scores.real.max(axis=-1, keepdims=True)
    return largest + np.log(np.exp(scores - largest).sum(axis=-1, keepdims=True))


def log_normaliser(scores: Array) -> Array:
    """Compute `log_sum_exp`, and ``inf`` for a row of ``-inf`` alone.

    Such a row belongs to a query that may see no key. ``exp(scores - inf)`` makes its weights 0, in
    forward and again in backward.

    Parameters
    ----------
    scores : ndarray, shape (..., n)

    Returns
    -------
    ndarray, shape (..., 1)
    """
    nothing = np.isneginf(scores.real.max(axis=-1, keepdims=True))
    lse = log_sum_exp(np.where(nothing, scores.dtype.type(0.0), scores))
    return np.where(nothing, scores.dtype.type(np.inf), lse)


def softmax_forward(scores: Array) -> Array:
    """Compute ``w_s = exp(scores_s) / sum_r exp(scores_r)`` over the last axis.

    Parameters
    ----------
    scores : ndarray, shape (..., n)

    Returns
    -------
    ndarray, shape (..., n)
        Each row sums to 1; one of ``-inf`` alone has weights 0.
    """
    largest = scores.real.max(axis=-1, keepdims=True)
    nothing = np.isneginf(largest)
    exponentials = np.exp(scores - np.where(nothing, 0.0, largest).astype(scores.real.dtype))
    total = exponentials.sum(axis=-1, keepdims=True)
    return exponentials / np.where(nothing, total.dtype.type(1.0), total)


def softmax_backward(dweights: Array, weights: Array) -> Array:
    """Multiply by the softmax's Jacobian ``dw_s/dscore_r = w_s (delta_sr - w_r)``.

    ``dscores = w * (dw - sum(dw * w))``: a weight rises with its own score (the diagonal) and
    falls with every other one, because the row must keep summing to 1.

    Parameters
    ----------
    dweights, weights : ndarray, shape (..., n)

    Returns
    -------
    ndarray, shape (..., n)
        The gradient of the scores.
    """
    shared = (dweights * weights).sum(axis=-1, keepdims=True)
    return weights * (dweights - shared)
