"""Additive scores, each pair of query and key read once and nothing of it kept."""

from __future__ import annotations

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.activations import tanh
from npgpt.ops.compiled.jit import compiled_form_of, kernel, parallel_kernel
from npgpt.ops.compiled.recurrence import number_of_positions
from npgpt.ops.workspace import empty

__all__ = ["additive_scores_backward", "additive_scores_forward"]


@kernel()
def _score(q: Array, k: Array, v: Array) -> float:
    total = q.dtype.type(0.0)
    for j in range(q.size):
        total += v[j] * tanh(q[j] + k[j])
    return total


@parallel_kernel()
def _forward(q: Array, k: Array, v: Array, lengths: Array, scores: Array) -> None:
    batch, time = q.shape[0], q.shape[1]
    for row in prange(batch * time):
        b, t = row // time, row % time
        for s in range(lengths[b]):
            scores[b, t, s] = _score(q[b, t], k[b, s], v)
        scores[b, t, lengths[b] :] = -np.inf


@kernel()
def _backward_pair(
    dscore: float, q: Array, k: Array, v: Array, dq: Array, dk: Array, dv: Array
) -> None:
    one = q.dtype.type(1.0)
    for j in range(q.size):
        h = tanh(q[j] + k[j])
        dv[j] += dscore * h
        dsum = dscore * v[j] * (one - h * h)
        dq[j] += dsum
        dk[j] += dsum


@parallel_kernel()
def _backward(
    dscores: Array, q: Array, k: Array, v: Array, lengths: Array, dq: Array, dk: Array,
    dv_parts: Array,
) -> None:  # fmt: skip
    for b in prange(q.shape[0]):  # one thread to a sequence, whose queries share its keys
        dk[b] = 0.0
        for t in range(q.shape[1]):
            dq[b, t] = 0.0
            for s in range(lengths[b]):
                _backward_pair(
                    dscores[b, t, s], q[b, t], k[b, s], v, dq[b, t], dk[b, s], dv_parts[b]
                )


@compiled_form_of(reference.additive_scores_forward)
def additive_scores_forward(  # noqa: D103
    q: Array, k: Array, v: Array, *, lengths: Array | None = None
) -> Array:
    (batch, time, _), keys = q.shape, k.shape[1]
    scores = empty((batch, time, keys), q.dtype)
    positions = number_of_positions(lengths, keys, batch)
    _forward(np.ascontiguousarray(q), np.ascontiguousarray(k), v, positions, scores)
    return scores


@compiled_form_of(reference.additive_scores_backward)
def additive_scores_backward(  # noqa: D103
    dscores: Array, q: Array, k: Array, v: Array, *, lengths: Array | None = None,
    dv: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    dq, dk = empty(q.shape, q.dtype), empty(k.shape, k.dtype)
    dv_parts = np.zeros((len(q), len(v)), v.dtype)
    positions = number_of_positions(lengths, k.shape[1], len(q))
    _backward(
        np.ascontiguousarray(dscores), np.ascontiguousarray(q), np.ascontiguousarray(k), v,
        positions, dq, dk, dv_parts,
    )  # fmt: skip
    if dv is not None:
        dv += dv_parts.sum(axis=0)
    return dq, dk
