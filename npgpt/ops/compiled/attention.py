"""Causal attention, one (batch, head) pair to a thread, one row of scores at a time.

The (time, time) scores never exist: a row is made, used and forgotten, and backward makes it again
from the log-sum-exp. Keys and values are transposed first, so that the inner loops run along the
row and vectorise.
"""

import math

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.compiled.dropout import fill_mask_row, key_words, mask_numbers
from npgpt.ops.compiled.jit import compiled_form_of, exp, kernel, parallel_kernel


@kernel()
def _transposed(x):
    columns = np.empty((x.shape[1], x.shape[0]), x.dtype)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            columns[j, i] = x[i, j]
    return columns


@kernel()
def _products_with_row(row, columns_of, length, products):
    """``products[s] = row . columns_of[:, s]`` for ``s < length``."""
    for s in range(length):
        products[s] = row[0] * columns_of[0, s]
    for d in range(1, row.size):
        for s in range(length):
            products[s] += row[d] * columns_of[d, s]


@kernel()
def _add_weighted_rows(weights, rows, length, total):
    """``total += weights[:length] @ rows[:length]``, two rows at a time."""
    for s in range(0, length - 1, 2):
        first, second = weights[s], weights[s + 1]
        for d in range(total.size):
            total[d] += first * rows[s, d] + second * rows[s + 1, d]
    if length % 2:
        last = weights[length - 1]
        for d in range(total.size):
            total[d] += last * rows[length - 1, d]


@kernel()
def _add_outer_product(weights, row, length, rows):
    """``rows[s] += weights[s] * row`` for ``s < length``."""
    for s in range(length):
        weight = weights[s]
        for d in range(row.size):
            rows[s, d] += weight * row[d]


@kernel()
def _forward_pair(q, k, v, scale, dropping, threshold, mask_scale, key, first_row, y, lse):
    time, head_size = q.shape
    keys = _transposed(k)  # (head_size, time)
    weights = np.empty(time, q.dtype)
    mask = np.empty(time + 3, q.dtype)
    for t in range(time):
        past = t + 1  # positions 0 .. t
        _products_with_row(q[t], keys, past, weights)
        largest = weights[0]
        for s in range(1, past):
            largest = max(largest, weights[s])
        total = q.dtype.type(0.0)
        for s in range(past):
            weights[s] = exp(scale * (weights[s] - largest))
            total += weights[s]
        lse[t] = scale * largest + math.log(total)
        if dropping:
            fill_mask_row(mask, past, first_row + t, threshold, mask_scale, key)
            for s in range(past):
                weights[s] *= mask[s]
        for d in range(head_size):
            y[t, d] = 0.0
        _add_weighted_rows(weights, v, past, y[t])
        for d in range(head_size):
            y[t, d] /= total


@kernel()
def _backward_pair(
    dy, q, k, v, y, lse, scale, dropping, threshold, mask_scale, key, first_row, dq, dk, dv
):
    time, head_size = q.shape
    keys, values = _transposed(k), _transposed(v)  # (head_size, time)
    weights = np.empty(time, q.dtype)
    dscores = np.empty(time, q.dtype)
    mask = np.empty(time + 3, q.dtype)
    for t in range(time):
        for d in range(head_size):
            dq[t, d], dk[t, d], dv[t, d] = 0.0, 0.0, 0.0
    for t in range(time):
        past = t + 1
        shared = q.dtype.type(0.0)
        for d in range(head_size):
            shared += dy[t, d] * y[t, d]
        _products_with_row(q[t], keys, past, weights)
        _products_with_row(dy[t], values, past, dscores)  # dweights so far
        for s in range(past):
            weights[s] = exp(scale * weights[s] - lse[t])
        if dropping:
            fill_mask_row(mask, past, first_row + t, threshold, mask_scale, key)
            for s in range(past):
                dscores[s] = scale * weights[s] * (mask[s] * dscores[s] - shared)
                weights[s] *= mask[s]
        else:
            for s in range(past):
                dscores[s] = scale * weights[s] * (dscores[s] - shared)
        _add_weighted_rows(dscores, k, past, dq[t])
        _add_outer_product(dscores, q[t], past, dk)
        _add_outer_product(weights, dy[t], past, dv)


@parallel_kernel()
def _forward(q, k, v, scale, dropping, threshold, mask_scale, key, y, lse):
    for i in prange(q.shape[0]):
        _forward_pair(
            q[i], k[i], v[i],
            scale, dropping, threshold, mask_scale, key, i * q.shape[1],
            y[i], lse[i],
        )  # fmt: skip


@parallel_kernel()
def _backward(dy, q, k, v, y, lse, scale, dropping, threshold, mask_scale, key, dq, dk, dv):
    for i in prange(q.shape[0]):
        _backward_pair(
            dy[i], q[i], k[i], v[i], y[i], lse[i],
            scale, dropping, threshold, mask_scale, key, i * q.shape[1],
            dq[i], dk[i], dv[i],
        )  # fmt: skip


def _pairs(x):
    # (batch, heads, time, ...) -> (batch * heads, time, ...)
    return np.ascontiguousarray(x).reshape(-1, *x.shape[2:])


def _dropout_arguments(p, key, dtype):
    words = key_words(key if p > 0.0 else reference.DropoutKey(0, 0, 0))
    return (p > 0.0, *mask_numbers(p, dtype), words)


@compiled_form_of(reference.attention_forward)
def attention_forward(q, k, v, scale, p=0.0, key=None):  # noqa: D103
    y = np.empty(q.shape, q.dtype)
    lse = np.empty((*q.shape[:-1], 1), q.dtype)
    dropout = _dropout_arguments(p, key, q.dtype)
    _forward(
        _pairs(q),
        _pairs(k),
        _pairs(v),
        q.dtype.type(scale),
        *dropout,
        _pairs(y),
        _pairs(lse)[..., 0],
    )
    return y, lse


@compiled_form_of(reference.attention_backward)
def attention_backward(dy, q, k, v, y, lse, scale, p=0.0, key=None):  # noqa: D103
    dq, dk, dv = (np.empty(q.shape, q.dtype) for _ in range(3))
    _backward(
        *(_pairs(array) for array in (dy, q, k, v, y)),
        _pairs(lse)[..., 0],
        q.dtype.type(scale),
        *_dropout_arguments(p, key, q.dtype),
        *(_pairs(array) for array in (dq, dk, dv)),
    )
    return dq, dk, dv
