"""Rows of scores to rows of weights without an exponential, and the causal mask by itself.

What the first steps of the course are made of; trained models use `softmax_forward` on scores that
`causal_scores_forward` masked.
"""

import numpy as np

from npgpt.ops.array import Array

__all__ = [
    "mask_future_backward",
    "mask_future_forward",
    "sum_normalise_backward",
    "sum_normalise_forward",
]


def sum_normalise_forward(scores: Array) -> tuple[Array, Array]:
    """Divide each row by its sum: ``w_s = scores_s / sum_r scores_r``.

    The weights sum to 1, but they are negative where scores are, and without bound where a row's
    sum comes near 0.

    Parameters
    ----------
    scores : ndarray, shape (..., n)

    Returns
    -------
    weights : ndarray, shape (..., n)
    total : ndarray, shape (..., 1)
        Each row's sum, which backward needs.
    """
    total = scores.sum(axis=-1, keepdims=True)
    return scores / total, total


def sum_normalise_backward(dweights: Array, weights: Array, total: Array) -> Array:
    """Send ``dweights`` back: ``dscores = (dw - sum(dw * w)) / total``.

    Parameters
    ----------
    dweights, weights : ndarray, shape (..., n)
    total : ndarray, shape (..., 1)

    Returns
    -------
    ndarray, shape (..., n)
        The gradient of the scores.
    """
    shared = (dweights * weights).sum(axis=-1, keepdims=True)  # each score is in the sum, too
    return (dweights - shared) / total


def mask_future_forward(x: Array, fill: float) -> Array:
    """Put ``fill`` where the key comes after the query: ``y[t, s] = x[t, s]`` for ``s <= t``.

    Parameters
    ----------
    x : ndarray, shape (..., time, time)
    fill : float
        ``-inf`` for scores, 0 for weights.

    Returns
    -------
    ndarray, same shape
    """
    past = np.tri(x.shape[-1], dtype=bool)
    return np.where(past, x, x.real.dtype.type(fill))


def mask_future_backward(dy: Array) -> Array:
    """Send ``dy`` back to the past; what was replaced has no gradient.

    Parameters
    ----------
    dy : ndarray, shape (..., time, time)

    Returns
    -------
    ndarray, same shape
    """
    return mask_future_forward(dy, 0.0)
