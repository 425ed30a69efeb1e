"""Scaled dot-product attention (Vaswani et al. 2017, arXiv 1706.03762, eq. 1).

The whole operation, ``attention_forward`` and ``attention_backward``, is made of small pairs:
scores, a bias by distance, softmax, weighted sum. A layer that somebody listens to runs the pairs
one by one, so that every array between them can be seen.

There may be more keys than queries, or fewer. Where order counts, to a causal mask, a window, or a
bias by distance, the queries are the last positions: the first of them comes after
``keys - time`` others, as when keys and values of earlier tokens were kept. There may be fewer
heads of keys and values than of queries, each shared by a group of them (Ainslie et al. 2023, arXiv
2305.13245; one for all: Shazeer 2019, arXiv 1911.02150).
"""

from __future__ import annotations

import numpy as np

from npgpt.ops.array import Array
from npgpt.ops.mask import CAUSAL, Mask
from npgpt.ops.reference.dropout import DropoutKey, dropout_mask, needed
from npgpt.ops.reference.masking import (
    bias_columns,
    distance_bias_backward,
    distance_bias_forward,
    mask_seen,
)
from npgpt.ops.reference.softmax import log_normaliser

__all__ = [
    "attention_backward",
    "attention_forward",
    "causal_scores_backward",
    "causal_scores_forward",
    "scores_backward",
    "scores_forward",
    "weighted_sum_backward",
    "weighted_sum_forward",
]


def _grouped(x: Array, n_kv_heads: int) -> Array:
    """View (batch, heads, ...) as (batch, n_kv_heads, group, ...): by the key head they share."""
    return x.reshape(x.shape[0], n_kv_heads, -1, *x.shape[2:])


def scores_forward(q: Array, k: Array, *, scale: float, mask: Mask = CAUSAL) -> Array:
    """Compute ``scores[t, s] = scale * q_t . k_s`` for the keys that t may see, ``-inf`` for others.

    Parameters
    ----------
    q : ndarray, shape (batch, heads, time, head_size)
    k : ndarray, shape (batch, n_kv_heads, keys, head_size)
    scale : float
        Usually ``1 / sqrt(head_size)``, which keeps the scores' variance near 1.
    mask : Mask

    Returns
    -------
    ndarray, shape (batch, heads, time, keys)
    """  # noqa: E501
    scores = scale * (_grouped(q, k.shape[1]) @ k[:, :, None].swapaxes(-1, -2))
    scores = scores.reshape(*q.shape[:-1], k.shape[-2])
    seen = mask_seen(mask, *scores.shape[-2:])
    return np.where(seen, scores, scores.real.dtype.type(-np.inf))


def scores_backward(dscores: Array, q: Array, k: Array, *, scale: float) -> tuple[Array, Array]:
    """Send ``dscores`` back to the queries and the keys.

    Masked scores do not depend on ``q`` and ``k``, so their gradient must be 0 on entry, as
    ``softmax_backward`` leaves it (their weights are 0).

    Parameters
    ----------
    dscores : ndarray, shape (batch, heads, time, keys)
    q : ndarray, shape (batch, heads, time, head_size)
    k : ndarray, shape (batch, n_kv_heads, keys, head_size)
    scale : float

    Returns
    -------
    dq, dk : ndarray, shapes of ``q`` and ``k``
        Every head of a group sends its gradient to the key head that it shares.
    """
    n_kv_heads = k.shape[1]
    dscores, q_groups = _grouped(dscores, n_kv_heads), _grouped(q, n_kv_heads)
    dq = scale * (dscores @ k[:, :, None])
    dk = scale * (dscores.swapaxes(-1, -2) @ q_groups)
    return dq.reshape(q.shape), dk.sum(axis=2)  # over the group


def causal_scores_forward(q: Array, k: Array, scale: float, window: int | None = None) -> Array:
    """Compute `scores_forward` under a causal mask.

    Parameters
    ----------
    q, k, scale
        As for `scores_forward`.
    window : int, optional
        As for `Mask`.
    """
    return scores_forward(q, k, scale=scale, mask=Mask(window=window))


def causal_scores_backward(dscores: Array, q: Array, k: Array, scale: float) -> tuple[Array, Array]:
    """Compute `scores_backward`, which needs no mask.

    Parameters
    ----------
    dscores, q, k, scale
        As for `scores_backward`.
    """
    return scores_backward(dscores, q, k, scale=scale)


def weighted_sum_forward(weights: Array, v: Array) -> Array:
    """Compute each position's context ``y_t = sum_s weights[t, s] v_s``.

    Parameters
    ----------
    weights : ndarray, shape (batch, heads, time, keys)
    v : ndarray, shape (batch, n_kv_heads, keys, head_size)

    Returns
    -------
    ndarray, shape (batch, heads, time, head_size)
    """
    y = _grouped(weights, v.shape[1]) @ v[:, :, None]
    return y.reshape(*weights.shape[:-1], v.shape[-1])


def weighted_sum_backward(dy: Array, weights: Array, v: Array) -> tuple[Array, Array]:
    """Send ``dy`` back to the weights and the values.

    Parameters
    ----------
    dy : ndarray, shape (batch, heads, time, head_size)
    weights : ndarray, shape (batch, heads, time, keys)
    v : ndarray, shape (batch, n_kv_heads, keys, head_size)

    Returns
    -------
    dweights : ndarray, shape (batch, heads, time, keys)
    dv : ndarray, shape of ``v``
        Every head of a group sends its gradient to the value head that it shares.
    """
    dy_groups = _grouped(dy, v.shape[1])
    dweights = dy_groups @ v[:, :, None].swapaxes(-1, -2)
    dv = _grouped(weights, v.shape[1]).swapaxes(-1, -2) @ dy_groups
    return dweights.reshape(weights.shape), dv.sum(axis=2)  # over the group


def _scores(q: Array, k: Array, scale: float, mask: Mask, bias: Array | None) -> Array:
    scores = scores_forward(q, k, scale=scale, mask=mask)
    if bias is None:
        return scores
    bias_columns(bias, mask, *scores.shape[-2:])
    return distance_bias_forward(scores, bias)


def attention_forward(
    q: Array, k: Array, v: Array, *, scale: float, mask: Mask = CAUSAL, p: float = 0.0,
    key: DropoutKey | None = None, bias: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Attend: ``y = dropout(softmax(mask(scale * q k^T + bias))) v``.

    Parameters
    ----------
    q : ndarray, shape (batch, heads, time, head_size)
    k, v : ndarray, shape (batch, n_kv_heads, keys, head_size)
        ``n_kv_heads`` divides ``heads``.
    scale : float
    mask : Mask
        Which keys a query may see: by default itself and what lies before it. One that sees none
        has context 0.
    p : float
        Dropout probability of the attention weights.
    key : DropoutKey, optional
        Needed when ``p > 0``.
    bias : ndarray, shape (heads, columns), optional
        Added to the scores by distance, as `distance_bias_forward` does: ``keys`` columns for a
        causal mask, ``time + keys - 1`` for another.

    Returns
    -------
    y : ndarray, shape (batch, heads, time, head_size)
    lse : ndarray, shape (batch, heads, time, 1)
        The scores' log-sum-exp, from which backward makes the weights again; ``inf`` for a query
        that sees no key.

    Raises
    ------
    ValueError
        If the bias lacks a column.
    """
    scores = _scores(q, k, scale, mask, bias)
    lse = log_normaliser(scores)
    weights = np.exp(scores - lse)
    if p > 0.0:
        weights = weights * dropout_mask(weights.shape, p, needed(key, p), weights.real.dtype)
    return weighted_sum_forward(weights, v), lse


def attention_backward(
    dy: Array, q: Array, k: Array, v: Array, y: Array, lse: Array, *, scale: float,
    mask: Mask = CAUSAL, p: float = 0.0, key: DropoutKey | None = None, bias: Array | None = None,
    dbias: Array | None = None, out: tuple[Array, Array, Array] | None = None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Send ``dy`` back to queries, keys and values.

    The softmax's Jacobian needs ``sum_s dw_ts w_ts`` for each row. Because ``y_t`` is the sum of
    the values under the same (dropped) weights, that sum equals ``dy_t . y_t``, which costs
    head_size products instead of time (Dao et al. 2022, arXiv 2205.14135, section B.2).

    Parameters
    ----------
    dy, q, y : ndarray, shape (batch, heads, time, head_size)
    k, v : ndarray, shape (batch, n_kv_heads, keys, head_size)
    lse : ndarray, shape (batch, heads, time, 1)
    scale, mask, p, key, bias
        As in forward.
    dbias : ndarray, shape of ``bias``, optional
        Added to in place.
    out : tuple of 3 ndarrays, optional
        Where the results go, such as three views of one array.

    Returns
    -------
    dq, dk, dv : ndarray, shapes of ``q``, ``k`` and ``v``
        0 for a query that sees no key, and for a key that no query sees.
    """
    weights = np.exp(_scores(q, k, scale, mask, bias) - lse)  # forward's again, not stored
    # y = weighted_sum(weights * dropout_mask, v)
    if p > 0.0:
        kept = dropout_mask(weights.shape, p, needed(key, p), weights.real.dtype)
        dweights, dv = weighted_sum_backward(dy, kept * weights, v)
        dweights = kept * dweights
    else:
        dweights, dv = weighted_sum_backward(dy, weights, v)
    # weights = exp(scores - lse)
    shared = (dy * y).sum(axis=-1, keepdims=True)
    dscores = weights * (dweights - shared)
    # scores = distance_bias(scores, bias)
    dscores = distance_bias_backward(dscores, dbias=dbias)
    # scores = scale * q k^T
    dq, dk = scores_backward(dscores, q, k, scale=scale)
    if out is None:
        return dq, dk, dv
    for place, gradient in zip(out, (dq, dk, dv), strict=True):
        place[...] = gradient
    return out
