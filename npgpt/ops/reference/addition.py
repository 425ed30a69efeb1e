"""The sum of two arrays."""

from npgpt.ops.array import Array

__all__ = ["add"]


def add(x: Array, y: Array) -> Array:
    """Compute ``x + y``; both have the sum's gradient.

    Parameters
    ----------
    x, y : ndarray, same shape

    Returns
    -------
    ndarray, same shape
    """
    return x + y
