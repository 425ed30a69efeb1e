"""Scores of a small network (Bahdanau, Cho and Bengio 2015, arXiv 1409.0473, section A.1.2)."""

from __future__ import annotations

import numpy as np

from npgpt.ops.array import Array

__all__ = ["additive_scores_backward", "additive_scores_forward"]


def additive_scores_forward(q: Array, k: Array, v: Array, *, lengths: Array | None = None) -> Array:
    """Compute ``scores[t, s] = v . tanh(q_t + k_s)`` for the keys that are there.

    Parameters
    ----------
    q : ndarray, shape (batch, time, d)
    k : ndarray, shape (batch, keys, d)
    v : ndarray, shape (d,)
        A parameter.
    lengths : ndarray of int, shape (batch,), optional
        How many keys of each sequence are there; the scores of others are ``-inf``.

    Returns
    -------
    ndarray, shape (batch, time, keys)
    """
    h = np.tanh(q[:, :, None] + k[:, None])  # (batch, time, keys, d)
    scores = h @ v
    if lengths is None:
        return scores
    there = np.arange(k.shape[1]) < np.asarray(lengths)[:, None, None]
    return np.where(there, scores, scores.real.dtype.type(-np.inf))


def additive_scores_backward(
    dscores: Array, q: Array, k: Array, v: Array, *, lengths: Array | None = None,
    dv: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Send ``dscores`` back: with ``h = tanh(q_t + k_s)`` the sum's gradient is ``v (1 - h^2)``.

    ``dsum[t, s] = dscores[t, s] v (1 - h^2)``; ``dq_t = sum_s dsum[t, s]``,
    ``dk_s = sum_t dsum[t, s]`` and ``dv += sum_ts dscores[t, s] h``.

    Parameters
    ----------
    dscores : ndarray, shape (batch, time, keys)
        0 for keys that are not there, as ``softmax_backward`` leaves it.
    q, k, v, lengths
        As in forward.
    dv : ndarray, shape (d,), optional
        Added to in place.

    Returns
    -------
    dq, dk : ndarray, shapes of ``q`` and ``k``
    """
    h = np.tanh(q[:, :, None] + k[:, None])  # forward's again, not stored
    if dv is not None:
        dv += np.einsum("bts,btsd->d", dscores, h)
    dsum = dscores[..., None] * (v * (1.0 - h * h))
    return dsum.sum(axis=2), dsum.sum(axis=1)
