"""Causal scaled dot-product attention (Vaswani et al. 2017, arXiv 1706.03762, eq. 1).

The whole operation, ``attention_forward`` and ``attention_backward``, is made of three small
pairs: masked scores, softmax, weighted sum. A layer that somebody listens to runs the pairs one by
one, so that every array between them can be seen.
"""

import numpy as np

from npgpt.ops.reference.dropout import dropout_mask
from npgpt.ops.reference.softmax import log_sum_exp


def causal_scores_forward(q, k, scale):
    """Compute ``scores[t, s] = scale * q_t . k_s`` for ``s <= t`` and ``-inf`` for the future.

    Parameters
    ----------
    q, k : ndarray, shape (batch, heads, time, head_size)
    scale : float
        Usually ``1 / sqrt(head_size)``, which keeps the scores' variance near 1.

    Returns
    -------
    ndarray, shape (batch, heads, time, time)
    """
    scores = scale * (q @ k.swapaxes(-1, -2))
    past = np.tri(q.shape[-2], dtype=bool)  # (time, time): True where s <= t
    return np.where(past, scores, scores.real.dtype.type(-np.inf))


def causal_scores_backward(dscores, q, k, scale):
    """Send ``dscores`` back to the queries and the keys.

    Masked scores do not depend on ``q`` and ``k``, so their gradient must be 0 on entry, as
    ``softmax_backward`` leaves it (their weights are 0).

    Parameters
    ----------
    dscores : ndarray, shape (batch, heads, time, time)
    q, k : ndarray, shape (batch, heads, time, head_size)
    scale : float

    Returns
    -------
    dq, dk : ndarray, shape (batch, heads, time, head_size)
    """
    dq = scale * (dscores @ k)
    dk = scale * (dscores.swapaxes(-1, -2) @ q)
    return dq, dk


def weighted_sum_forward(weights, v):
    """Compute each position's context ``y_t = sum_s weights[t, s] v_s``.

    Parameters
    ----------
    weights : ndarray, shape (batch, heads, time, time)
    v : ndarray, shape (batch, heads, time, head_size)

    Returns
    -------
    ndarray, shape (batch, heads, time, head_size)
    """
    return weights @ v


def weighted_sum_backward(dy, weights, v):
    """Send ``dy`` back to the weights and the values.

    Parameters
    ----------
    dy, v : ndarray, shape (batch, heads, time, head_size)
    weights : ndarray, shape (batch, heads, time, time)

    Returns
    -------
    dweights : ndarray, shape (batch, heads, time, time)
    dv : ndarray, shape (batch, heads, time, head_size)
    """
    dweights = dy @ v.swapaxes(-1, -2)
    dv = weights.swapaxes(-1, -2) @ dy
    return dweights, dv


def attention_forward(q, k, v, scale, p=0.0, key=None):
    """Attend: ``y = dropout(softmax(mask(scale * q k^T))) v``.

    Parameters
    ----------
    q, k, v : ndarray, shape (batch, heads, time, head_size)
    scale : float
    p : float
        Dropout probability of the attention weights.
    key : DropoutKey, optional
        Needed when ``p > 0``.

    Returns
    -------
    y : ndarray, shape (batch, heads, time, head_size)
    lse : ndarray, shape (batch, heads, time, 1)
        The scores' log-sum-exp, from which backward makes the weights again.
    """
    scores = causal_scores_forward(q, k, scale)
    lse = log_sum_exp(scores)
    weights = np.exp(scores - lse)
    if p > 0.0:
        weights = weights * dropout_mask(weights.shape, p, key, weights.real.dtype)
    return weighted_sum_forward(weights, v), lse


def attention_backward(dy, q, k, v, y, lse, scale, p=0.0, key=None, out=None):
    """Send ``dy`` back to queries, keys and values.

    The softmax's Jacobian needs ``sum_s dw_ts w_ts`` for each row. Because ``y_t`` is the sum of
    the values under the same (dropped) weights, that sum equals ``dy_t . y_t``, which costs
    head_size products instead of time (Dao et al. 2022, arXiv 2205.14135, section B.2).

    Parameters
    ----------
    dy, q, k, v, y : ndarray, shape (batch, heads, time, head_size)
    lse : ndarray, shape (batch, heads, time, 1)
    scale, p, key
        As in forward.
    out : tuple of 3 ndarrays, optional
        Where the results go, such as three views of one array.

    Returns
    -------
    dq, dk, dv : ndarray, shape (batch, heads, time, head_size)
    """
    weights = np.exp(causal_scores_forward(q, k, scale) - lse)  # recomputed, not stored
    if p > 0.0:
        mask = dropout_mask(weights.shape, p, key, weights.real.dtype)
        dweights, dv = weighted_sum_backward(dy, mask * weights, v)
        dweights = mask * dweights  # through the dropout
    else:
        dweights, dv = weighted_sum_backward(dy, weights, v)
    shared = (dy * y).sum(axis=-1, keepdims=True)
    dscores = weights * (dweights - shared)  # through the softmax
    dq, dk = causal_scores_backward(dscores, q, k, scale)
    if out is None:
        return dq, dk, dv
    for place, gradient in zip(out, (dq, dk, dv), strict=True):
        place[...] = gradient
    return out
