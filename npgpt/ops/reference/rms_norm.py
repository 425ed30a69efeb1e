"""Root-mean-square normalisation (Zhang and Sennrich 2019, arXiv 1910.07467, eq. 4)."""

import numpy as np

from npgpt.ops.array import Array

__all__ = ["rms_norm_backward", "rms_norm_forward"]


def rms_norm_forward(x: Array, gamma: Array, eps: float) -> tuple[Array, Array]:
    """Divide each row by its root mean square, then scale: ``y = gamma * x / sqrt(mean(x^2) + eps)``.

    Parameters
    ----------
    x : ndarray, shape (..., d_model)
    gamma : ndarray, shape (d_model,)
    eps : float
        Keeps a row of zeros from dividing by zero.

    Returns
    -------
    y : ndarray, shape (..., d_model)
    rstd : ndarray, shape (..., 1)
        Each row's ``1 / sqrt(mean(x^2) + eps)``; backward needs it.
    """  # noqa: E501
    rstd = 1.0 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    return gamma * (x * rstd), rstd


def rms_norm_backward(
    dy: Array, x: Array, gamma: Array, rstd: Array, *, dgamma: Array | None = None,
    dshortcut: Array | None = None,
) -> Array:  # fmt: skip
    """Send ``dy`` back through the normalisation.

    With ``x_hat = rstd * x`` and ``dx_hat = gamma * dy``, ``x`` reaches ``y`` by two ways:
    ``dx = rstd * (dx_hat - x_hat * mean(dx_hat * x_hat))``.

    Parameters
    ----------
    dy, x : ndarray, shape (..., d_model)
    gamma : ndarray, shape (d_model,)
    rstd : ndarray, shape (..., 1)
        As forward returned it.
    dgamma : ndarray, shape (d_model,), optional
        Added to in place.
    dshortcut : ndarray, shape (..., d_model), optional
        A gradient that reaches ``x`` by another way, round the norm; it is added to the result.

    Returns
    -------
    ndarray, shape (..., d_model)
        The gradient of ``x``.
    """
    x_hat = x * rstd
    if dgamma is not None:
        dgamma += (dy * x_hat).sum(axis=tuple(range(dy.ndim - 1)))
    dx_hat = gamma * dy
    # term 1: through the element itself
    direct = dx_hat
    # term 2: every element moves the root mean square
    through_rms = x_hat * (dx_hat * x_hat).mean(axis=-1, keepdims=True)
    dx = rstd * (direct - through_rms)
    return dx if dshortcut is None else dshortcut + dx
