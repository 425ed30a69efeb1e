"""Layer normalisation over the last axis (Ba, Kiros and Hinton 2016, arXiv 1607.06450, eq. 4)."""

import numpy as np

from npgpt.ops.array import Array

__all__ = ["layer_norm_backward", "layer_norm_forward"]


def layer_norm_forward(
    x: Array, gamma: Array, beta: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """Normalise each row to mean 0 and variance 1, then scale and shift.

    ``x_hat = (x - mean) / sqrt(var + eps)``, ``y = gamma * x_hat + beta``; the variance is the
    biased one (divided by d_model).

    Parameters
    ----------
    x : ndarray, shape (..., d_model)
    gamma, beta : ndarray, shape (d_model,)
        ``beta`` may be None (no shift).
    eps : float
        Keeps a constant row from dividing by zero.

    Returns
    -------
    y : ndarray, shape (..., d_model)
    mean, rstd : ndarray, shape (..., 1)
        Each row's mean and ``1 / sqrt(var + eps)``; backward needs them.
    """
    mean = x.mean(axis=-1, keepdims=True)
    centred = x - mean
    variance = (centred * centred).mean(axis=-1, keepdims=True)  # not np.var: it conjugates
    rstd = 1.0 / np.sqrt(variance + eps)
    y = gamma * (centred * rstd)
    if beta is not None:
        y = y + beta
    return y, mean, rstd


def layer_norm_backward(
    dy: Array, x: Array, gamma: Array, mean: Array, rstd: Array, *, dgamma: Array | None = None,
    dbeta: Array | None = None, dshortcut: Array | None = None,
) -> Array:  # fmt: skip
    """Send ``dy`` back through layer normalisation.

    With ``dx_hat = gamma * dy``, ``x`` reaches ``y`` by three ways and each gives a term of
    ``dx = rstd * (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat))``.

    Parameters
    ----------
    dy, x : ndarray, shape (..., d_model)
    gamma : ndarray, shape (d_model,)
    mean, rstd : ndarray, shape (..., 1)
        As forward returned them.
    dgamma, dbeta : ndarray, shape (d_model,), optional
        Added to in place.
    dshortcut : ndarray, shape (..., d_model), optional
        A gradient that reaches ``x`` by another way, round the norm; it is added to the result.

    Returns
    -------
    ndarray, shape (..., d_model)
        The gradient of ``x``.
    """
    rows = tuple(range(dy.ndim - 1))
    x_hat = (x - mean) * rstd
    if dgamma is not None:
        dgamma += (dy * x_hat).sum(axis=rows)
    if dbeta is not None:
        dbeta += dy.sum(axis=rows)
    dx_hat = gamma * dy
    # term 1: through the element itself
    direct = dx_hat
    # term 2: every element moves the mean
    through_mean = dx_hat.mean(axis=-1, keepdims=True)
    # term 3: every element moves the variance
    through_variance = x_hat * (dx_hat * x_hat).mean(axis=-1, keepdims=True)
    dx = rstd * (direct - through_mean - through_variance)
    return dx if dshortcut is None else dshortcut + dx
