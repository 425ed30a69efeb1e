"""The error function for real and complex arrays; NumPy has none."""

import numpy as np

from npgpt.ops.array import Array

SERIES_TERMS = 140  # at |z| = 6 the 140th term is below 1e-17 of the sum
SATURATED = 6.0  # beyond it 1 - erf(z) < 2.2e-17, less than float64 resolves


def erf(z: Array) -> Array:
    """Compute ``erf(z) = 2/sqrt(pi) * integral of exp(-t^2) from 0 to z``.

    Uses the series ``2/sqrt(pi) * exp(-z^2) * sum_n 2^n z^(2n+1) / (2n+1)!!`` (Abramowitz and
    Stegun 1964, 7.1.6). On the real line all its terms have one sign, so nothing cancels.

    Parameters
    ----------
    z : ndarray
        Real, or complex near the real line (as a complex step is).

    Returns
    -------
    ndarray, same shape and dtype as ``z``
    """
    saturated = np.real(z) ** 2 > SATURATED**2
    inside = np.where(saturated, 0.0, z)
    term = inside
    total = inside
    for n in range(1, SERIES_TERMS):
        term = term * (2.0 * inside * inside / (2 * n + 1))
        total = total + term
    series = (2.0 / np.sqrt(np.pi)) * np.exp(-inside * inside) * total
    return np.where(saturated, np.sign(np.real(z)), series).astype(z.dtype)
