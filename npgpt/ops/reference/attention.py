"""Causal scaled dot-product attention (Vaswani et al. 2017, arXiv 1706.03762, eq. 1).

The whole operation, ``attention_forward`` and ``attention_backward``, is made of small pairs:
scores, a bias by distance, softmax, weighted sum. A layer that somebody listens to runs the pairs
one by one, so that every array between them can be seen.

There may be more keys than queries: the queries are then the last positions, and the first of
them comes after ``past = keys - time`` others, as when keys and values of earlier tokens were kept.
There may be fewer heads of keys and values than of queries, each shared by a group of them (Ainslie
et al. 2023, arXiv 2305.13245; one for all: Shazeer 2019, arXiv 1911.02150).
"""

import numpy as np

from npgpt.ops.reference.dropout import dropout_mask
from npgpt.ops.reference.softmax import log_sum_exp


def _distances(time, keys):
    """How far back each key is from each query, (time, keys); negative in the future."""
    return (np.arange(time) + keys - time)[:, None] - np.arange(keys)


def _grouped(x, n_kv_heads):
    """View (batch, heads, ...) as (batch, n_kv_heads, group, ...): by the key head they share."""
    return x.reshape(x.shape[0], n_kv_heads, -1, *x.shape[2:])


def causal_scores_forward(q, k, scale, window=None):
    """Compute ``scores[t, s] = scale * q_t . k_s`` for the keys that t may see, ``-inf`` for others.

    Parameters
    ----------
    q : ndarray, shape (batch, heads, time, head_size)
    k : ndarray, shape (batch, n_kv_heads, keys, head_size)
    scale : float
        Usually ``1 / sqrt(head_size)``, which keeps the scores' variance near 1.
    window : int, optional
        How many positions a query sees, itself and those before it; all of the past by default.

    Returns
    -------
    ndarray, shape (batch, heads, time, keys)
    """  # noqa: E501
    time, keys = q.shape[-2], k.shape[-2]
    scores = scale * (_grouped(q, k.shape[1]) @ k[:, :, None].swapaxes(-1, -2))
    scores = scores.reshape(*q.shape[:-1], keys)
    distance = _distances(time, keys)
    seen = (distance >= 0) & (distance < (window or keys))
    return np.where(seen, scores, scores.real.dtype.type(-np.inf))


def causal_scores_backward(dscores, q, k, scale):
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


def distance_bias_forward(scores, bias):
    """Add to each score what belongs to the distance between query and key.

    Parameters
    ----------
    scores : ndarray, shape (batch, heads, time, keys)
    bias : ndarray, shape (heads, keys)
        ``bias[h, d]`` goes to the keys that are ``d`` positions before the query.

    Returns
    -------
    ndarray, same shape as ``scores``
    """
    distance = _distances(*scores.shape[-2:])
    return scores + bias[:, np.maximum(distance, 0)]  # the future stays -inf


def distance_bias_backward(dscores, dbias):
    """Add up each diagonal of ``dscores``: all scores of one distance share one bias.

    The gradient of the scores themselves is ``dscores``.

    Parameters
    ----------
    dscores : ndarray, shape (batch, heads, time, keys)
    dbias : ndarray, shape (heads, keys)
        Added to in place.
    """
    distance = _distances(*dscores.shape[-2:])
    seen = distance >= 0
    for head, row in enumerate(dscores.sum(axis=0)):
        np.add.at(dbias[head], distance[seen], row[seen])


def weighted_sum_forward(weights, v):
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


def weighted_sum_backward(dy, weights, v):
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


def _scores(q, k, scale, window, bias):
    scores = causal_scores_forward(q, k, scale, window)
    return scores if bias is None else distance_bias_forward(scores, bias)


def attention_forward(q, k, v, scale, p=0.0, key=None, window=None, bias=None):
    """Attend: ``y = dropout(softmax(mask(scale * q k^T + bias))) v``.

    Parameters
    ----------
    q : ndarray, shape (batch, heads, time, head_size)
        Of the last ``time`` positions.
    k, v : ndarray, shape (batch, n_kv_heads, keys, head_size)
        ``n_kv_heads`` divides ``heads``.
    scale : float
    p : float
        Dropout probability of the attention weights.
    key : DropoutKey, optional
        Needed when ``p > 0``.
    window : int, optional
        How many positions a query sees, itself and those before it; all of the past by default.
    bias : ndarray, shape (heads, keys), optional
        ``bias[h, d]`` is added to the scores of the keys ``d`` positions before the query.

    Returns
    -------
    y : ndarray, shape (batch, heads, time, head_size)
    lse : ndarray, shape (batch, heads, time, 1)
        The scores' log-sum-exp, from which backward makes the weights again.
    """
    scores = _scores(q, k, scale, window, bias)
    lse = log_sum_exp(scores)
    weights = np.exp(scores - lse)
    if p > 0.0:
        weights = weights * dropout_mask(weights.shape, p, key, weights.real.dtype)
    return weighted_sum_forward(weights, v), lse


def attention_backward(
    dy, q, k, v, y, lse, scale, p=0.0, key=None, out=None, window=None, bias=None, dbias=None
):
    """Send ``dy`` back to queries, keys and values.

    The softmax's Jacobian needs ``sum_s dw_ts w_ts`` for each row. Because ``y_t`` is the sum of
    the values under the same (dropped) weights, that sum equals ``dy_t . y_t``, which costs
    head_size products instead of time (Dao et al. 2022, arXiv 2205.14135, section B.2).

    Parameters
    ----------
    dy, q, y : ndarray, shape (batch, heads, time, head_size)
    k, v : ndarray, shape (batch, n_kv_heads, keys, head_size)
    lse : ndarray, shape (batch, heads, time, 1)
    scale, p, key, window, bias
        As in forward.
    out : tuple of 3 ndarrays, optional
        Where the results go, such as three views of one array.
    dbias : ndarray, shape (heads, keys), optional
        Added to in place.

    Returns
    -------
    dq, dk, dv : ndarray, shapes of ``q``, ``k`` and ``v``
    """
    weights = np.exp(_scores(q, k, scale, window, bias) - lse)  # recomputed, not stored
    if p > 0.0:
        mask = dropout_mask(weights.shape, p, key, weights.real.dtype)
        dweights, dv = weighted_sum_backward(dy, mask * weights, v)
        dweights = mask * dweights  # through the dropout
    else:
        dweights, dv = weighted_sum_backward(dy, weights, v)
    shared = (dy * y).sum(axis=-1, keepdims=True)
    dscores = weights * (dweights - shared)  # through the softmax
    if dbias is not None:
        distance_bias_backward(dscores, dbias)
    dq, dk = causal_scores_backward(dscores, q, k, scale)
    if out is None:
        return dq, dk, dv
    for place, gradient in zip(out, (dq, dk, dv), strict=True):
        place[...] = gradient
    return out
