"""Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167, algorithm 1).

Layer normalisation turned round: each feature is normalised over all rows of the batch.
"""

import numpy as np


def batch_norm_forward(x, gamma, beta, eps):
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


def batch_norm_backward(dy, x, mean, variance, gamma, dgamma, dbeta, eps):
    """Send ``dy`` back through the normalisation over rows.

    The three terms are layer normalisation's, with means over rows instead of features:
    ``dx = rstd * (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat))``.

    Parameters
    ----------
    dy, x : ndarray, shape (..., features)
    mean, variance : ndarray, shape (features,)
        As forward returned them.
    gamma : ndarray, shape (features,)
    dgamma, dbeta : ndarray, shape (features,)
        Added to in place; each may be None, which leaves it out.
    eps : float

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
