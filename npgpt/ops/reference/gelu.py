"""The Gaussian error linear unit (Hendrycks and Gimpel 2016, arXiv 1606.08415).

``gelu_exact`` is ``x * Phi(x)`` with the normal distribution function; ``gelu_tanh`` is the
paper's approximation, which GPT-2 uses.
"""

import numpy as np

from npgpt.ops.array import Array
from npgpt.ops.reference.erf import erf

__all__ = ["gelu_exact_backward", "gelu_exact_forward", "gelu_tanh_backward", "gelu_tanh_forward"]

SQRT_2_OVER_PI = float(np.sqrt(2.0 / np.pi))
CUBIC = 0.044715


def gelu_tanh_forward(x: Array, bias: Array | None = None) -> Array:
    """Compute ``y = x/2 * (1 + tanh(u))`` with ``u = sqrt(2/pi) * (x + 0.044715 x^3)``.

    Parameters
    ----------
    x : ndarray, shape (..., d_ff)
    bias : ndarray, shape (d_ff,), optional
        Added to ``x`` first.

    Returns
    -------
    ndarray, same shape
    """
    x = x if bias is None else x + bias
    u = SQRT_2_OVER_PI * (x + CUBIC * x * x * x)
    return 0.5 * x * (1.0 + np.tanh(u))


def gelu_tanh_backward(
    dy: Array, x: Array, bias: Array | None = None, *, dbias: Array | None = None
) -> Array:
    """Send ``dy`` back: ``dx = dy * (1/2 (1 + tanh u) + x/2 (1 - tanh^2 u) du/dx)``.

    Parameters
    ----------
    dy, x : ndarray, shape (..., d_ff)
    bias : ndarray, shape (d_ff,), optional
        As in forward.
    dbias : ndarray, shape (d_ff,), optional
        Added to in place.

    Returns
    -------
    ndarray, same shape
        The gradient of ``x``.
    """
    x = x if bias is None else x + bias
    u = SQRT_2_OVER_PI * (x + CUBIC * x * x * x)
    du = SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x)
    tanh = np.tanh(u)
    gate = 0.5 * (1.0 + tanh)  # term 1: x as a factor
    slope = 0.5 * x * (1.0 - tanh * tanh) * du  # term 2: x inside the tanh
    dx = dy * (gate + slope)
    if dbias is not None:
        dbias += dx.reshape(-1, dx.shape[-1]).sum(axis=0)
    return dx


def gelu_exact_forward(x: Array, bias: Array | None = None) -> Array:
    """Compute ``y = x * Phi(x)`` with ``Phi(x) = (1 + erf(x / sqrt 2)) / 2``.

    Parameters
    ----------
    x : ndarray, shape (..., d_ff)
    bias : ndarray, shape (d_ff,), optional
        Added to ``x`` first.

    Returns
    -------
    ndarray, same shape
    """
    x = x if bias is None else x + bias
    return 0.5 * x * (1.0 + erf(x / np.sqrt(2.0).astype(x.real.dtype)))


def gelu_exact_backward(
    dy: Array, x: Array, bias: Array | None = None, *, dbias: Array | None = None
) -> Array:
    """Send ``dy`` back: ``dx = dy * (Phi(x) + x * phi(x))`` with the normal density ``phi``.

    Parameters
    ----------
    dy, x : ndarray, shape (..., d_ff)
    bias : ndarray, shape (d_ff,), optional
        As in forward.
    dbias : ndarray, shape (d_ff,), optional
        Added to in place.

    Returns
    -------
    ndarray, same shape
        The gradient of ``x``.
    """
    x = x if bias is None else x + bias
    gate = 0.5 * (1.0 + erf(x / np.sqrt(2.0).astype(x.real.dtype)))  # term 1: Phi(x)
    density = np.exp(-0.5 * x * x) * float(1.0 / np.sqrt(2.0 * np.pi))  # term 2: dPhi/dx
    dx = dy * (gate + x * density)
    if dbias is not None:
        dbias += dx.reshape(-1, dx.shape[-1]).sum(axis=0)
    return dx
