"""Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167, algorithm 1).

Layer normalisation turned round: each feature is normalised over all rows of the batch.
"""

import numpy as np

from npgpt.ops.array import Array

__all__ = ["batch_norm_backward", "batch_norm_forward"]


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, eps: float
) -> tuple[Array, Array, Array]:
    """Normalise each feature to mean 0 and variance 1 over all rows, then scale and shift.

    Parameters
    ----------
    x : ndarray, shape (..., features)
    gamma, beta : ndarray, shape (features,)
    eps : float

    Returns
    -------
    y : ndarray, same shape as ``x``
    mean, variance : ndarray, shape (features,)
        Over the rows; the variance is the biased one.
    """
    rows = tuple(range(x.ndim - 1))
    mean = x.mean(axis=rows)
    centred = x - mean
    variance = (centred * centred).mean(axis=rows)  # not np.var: it conjugates
    return gamma * (centred / np.sqrt(variance + eps)) + beta, mean, variance


def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, eps: float, mean: Array, variance: Array, *,
    dgamma: Array | None = None, dbeta: Array | None = None,
) -> Array:  # fmt: skip
    """Send ``dy`` back through the normalisation over rows.

    The three terms are layer normalisation's, with means over rows instead of features:
    ``dx = rstd * (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat))``.

    Parameters
    ----------
    dy, x : ndarray, shape (..., features)
    gamma : ndarray, shape (features,)
    eps : float
    mean, variance : ndarray, shape (features,)
        As forward returned them.
    dgamma, dbeta : ndarray, shape (features,), optional
        Added to in place.

    Returns
    -------
    ndarray, same shape as ``x``
        The gradient of ``x``.
    """
    rows = tuple(range(x.ndim - 1))
    rstd = 1.0 / np.sqrt(variance + eps)
    x_hat = (x - mean) * rstd
    if dgamma is not None:
        dgamma += (dy * x_hat).sum(axis=rows)
    if dbeta is not None:
        dbeta += dy.sum(axis=rows)
    dx_hat = gamma * dy
    # term 1: through the element itself
    direct = dx_hat
    # term 2: every row moves the mean
    through_mean = dx_hat.mean(axis=rows)
    # term 3: every row moves the variance
    through_variance = x_hat * (dx_hat * x_hat).mean(axis=rows)
    return rstd * (direct - through_mean - through_variance)
