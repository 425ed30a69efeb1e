"""Which keys a query may see, and biases by the distance of query and key."""

from __future__ import annotations

import numpy as np

from npgpt.ops.array import Array
from npgpt.ops.mask import Mask

__all__ = ["distance_bias_backward", "distance_bias_forward"]


def _distances(time: int, keys: int) -> Array:
    """How far back each key is from each query, (time, keys); negative after the query."""
    return (np.arange(time) + keys - time)[:, None] - np.arange(keys)


def mask_seen(mask: Mask, time: int, keys: int) -> Array:
    """Write a mask out.

    Parameters
    ----------
    mask : Mask
    time, keys : int
        How many queries and keys there are.

    Returns
    -------
    ndarray of bool, shape (batch, 1, time, keys)
        True where the query may see the key; ``batch`` is 1 if the mask has no lengths.
    """
    distance = _distances(time, keys)
    before, after = mask.reach(time, keys)
    seen = ((distance <= before) & (distance >= -after))[None, None]
    if mask.lengths is not None:
        seen = seen & (np.arange(keys) < np.asarray(mask.lengths)[:, None, None, None])
    return seen


def bias_columns(bias: Array, mask: Mask, time: int, keys: int) -> int:
    """Return how many distances a query may see, and check that a bias has a column for each.

    Parameters
    ----------
    bias : ndarray, shape (heads, distances)
    mask, time, keys
        As for `mask_seen`.

    Raises
    ------
    ValueError
        If it has fewer.
    """
    columns = keys if mask.causal else time + keys - 1
    if bias.shape[-1] < columns:
        raise ValueError(
            f"attention: the bias needs a column for each distance from {keys - columns} to "
            f"{keys - 1}, got {bias.shape[-1]}; make it of {columns} columns."
        )
    return columns


def distance_bias_forward(scores: Array, bias: Array) -> Array:
    """Add to each score what belongs to the distance between query and key.

    Parameters
    ----------
    scores : ndarray, shape (batch, heads, time, keys)
    bias : ndarray, shape (heads, columns)
        The last column belongs to the largest distance, ``keys - 1`` positions before the query.
        With ``keys`` columns ``bias[h, d]`` is that of distance ``d``; with ``time + keys - 1``
        the first one is that of distance ``1 - time``, after the query.

    Returns
    -------
    ndarray, same shape as ``scores``
    """
    column = _distances(*scores.shape[-2:]) + bias.shape[-1] - scores.shape[-1]
    return scores + bias[:, np.maximum(column, 0)]  # what has no column is masked: it stays -inf


def distance_bias_backward(dscores: Array, *, dbias: Array | None = None) -> Array:
    """Add up each diagonal of ``dscores``: all scores of one distance share one bias.

    Parameters
    ----------
    dscores : ndarray, shape (batch, heads, time, keys)
    dbias : ndarray, shape (heads, columns), optional
        Added to in place.

    Returns
    -------
    ndarray, shape (batch, heads, time, keys)
        The gradient of the scores that were added to, ``dscores`` itself.
    """
    if dbias is None:
        return dscores
    column = _distances(*dscores.shape[-2:]) + dbias.shape[-1] - dscores.shape[-1]
    seen = column >= 0
    for head, row in enumerate(dscores.sum(axis=0)):
        np.add.at(dbias[head], column[seen], row[seen])
    return dscores
