"""Attention of one new position to the keys and values that were kept of those before it."""

from __future__ import annotations

import numpy as np

from npgpt.ops.array import Array
from npgpt.ops.mask import Mask
from npgpt.ops.reference.attention import attention_forward

__all__ = ["cached_attention_forward"]


def cached_attention_forward(
    q: Array, keys: Array, values: Array, lengths: Array, *, scale: float,
    window: int | None = None, bias: Array | None = None,
) -> Array:  # fmt: skip
    """Attend from the last position of each sequence: ``y = softmax(scale * q k^T + bias) v``.

    Nothing of the past is computed again; only inference asks for it, so there is no backward.

    Parameters
    ----------
    q : ndarray, shape (batch, heads, 1, head_size)
        Of each sequence's last position.
    keys, values : ndarray, shape (batch, n_kv_heads, capacity, head_size)
        Of all its positions, the last one too; what comes after them does not count.
    lengths : ndarray of int, shape (batch,)
        How many positions each sequence has.
    scale : float
    window : int, optional
        How many positions a query sees, itself and those before it.
    bias : ndarray, shape (heads, distances), optional
        Added to the score of a key by its distance.

    Returns
    -------
    ndarray, shape (batch, heads, 1, head_size)
    """
    rows, mask = [], Mask(window=window)
    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        past = slice(0, length)
        row_bias = None if bias is None else bias[:, :length]
        y, _ = attention_forward(
            q[one], keys[one, :, past], values[one, :, past], scale=scale, mask=mask, bias=row_bias
        )
        rows.append(y)
    return np.concatenate(rows)
