"""The loss of direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290, eq. 7)."""

import numpy as np

from npgpt.ops.array import Array, Scalar

__all__ = ["preference_loss_backward", "preference_loss_forward"]


def preference_loss_forward(margin: Array) -> np.floating:
    """Compute the mean of ``-log sigmoid(margin) = log(1 + exp(-margin))``.

    Parameters
    ----------
    margin : ndarray, shape (pairs,)
        By how much the chosen response's reward is above the rejected one's.

    Returns
    -------
    scalar
    """
    # the exponential of a negative number only: it never overflows
    negative = margin.real < 0.0
    tail = np.log1p(np.exp(np.where(negative, margin, -margin)))
    return (tail - np.where(negative, margin, 0.0)).mean()


def preference_loss_backward(dloss: Scalar, margin: Array) -> Array:
    """Send ``dloss`` back: ``dmargin = -dloss / pairs * sigmoid(-margin)``.

    Pairs that are in the right order by far have next to no gradient.

    Parameters
    ----------
    dloss : scalar
    margin : ndarray, shape (pairs,)

    Returns
    -------
    ndarray, shape (pairs,)
    """
    negative = margin.real < 0.0
    small = np.exp(np.where(negative, margin, -margin))
    sigmoid_of_minus = np.where(negative, 1.0, small) / (1.0 + small)
    return (-dloss / margin.size * sigmoid_of_minus).astype(margin.dtype)
