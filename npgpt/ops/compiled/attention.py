"""Causal attention, one (batch, head) pair to a thread, one block of rows at a time.

The (time, time) scores never exist: a block of rows is made by a matrix product, used and
forgotten, and backward makes it again from the log-sum-exp. Columns that the whole block may not
see are never computed.
"""

import math

import numba
import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.compiled.blas import BLAS, gemm
from npgpt.ops.compiled.dropout import fill_mask_row, mask_arguments
from npgpt.ops.compiled.jit import (
    compiled_form_of,
    exp,
    for_any_heads,
    inline_kernel,
    kernel,
    parallel_kernel,
)
from npgpt.ops.workspace import empty

# What goes through a row goes to the next multiple of this many columns, beyond what a position may
# see: those are set to 0 in the end. A vectorised loop handles 64 numbers at a time and the rest
# one by one, and the rest would be all of a short row.
STRIP = 64
BLOCK_ROWS = 64


def _block_rows(time):
    # short sequences in two blocks at least: half the scores above the diagonal are not computed
    return min(BLOCK_ROWS, (time + 1) // 2)


@inline_kernel()
def _padded(columns):
    """Round up to whole strips."""
    return (columns + STRIP - 1) // STRIP * STRIP


@kernel()
def _softmax_row(scores, past):
    """Turn a row of scores to unnormalised weights, of no meaning beyond ``past``.

    Returns their sum, and the log-sum-exp of the scores.
    """
    padded = _padded(past)
    for s in range(past, padded):
        scores[s] = -np.inf
    largest = scores[0]
    for s in range(padded):
        largest = max(largest, scores[s])
    total = scores.dtype.type(0.0)
    for s in range(padded):
        scores[s] = exp(scores[s] - largest)
        total += scores[s]
    return total, largest + math.log(total)


@kernel()
def _forward_pair(
    q, k, v, scale, dropping, threshold, mask_scale, key, first_row, block, weights, mask, y, lse
):
    time = q.shape[0]
    zero, one = q.dtype.type(0.0), q.dtype.type(1.0)
    for begin in range(0, time, block):
        end = min(begin + block, time)
        width = _padded(end)
        padded = weights[: (end - begin) * width].reshape(end - begin, width)
        rows = padded[:, :end]
        gemm(scale, False, q[begin:end], True, k[:end], zero, rows)
        for t in range(begin, end):
            past, row = t + 1, padded[t - begin]
            total, lse[t] = _softmax_row(row, past)
            over_total = one / total
            if dropping:
                fill_mask_row(mask, past, first_row + t, threshold, mask_scale, key)
                for s in range(_padded(past)):
                    row[s] *= over_total * mask[s]
            else:
                for s in range(_padded(past)):
                    row[s] *= over_total
            for s in range(past, width):
                row[s] = 0.0
        gemm(one, False, rows, False, v[:end], zero, y[begin:end])


@kernel()
def _backward_pair(
    dy, q, k, v, y, lse, scale, dropping, threshold, mask_scale, key, first_row,
    block, weights, dscores, mask, dq, dk, dv,
):  # fmt: skip
    time, head_size = q.shape
    zero, one = q.dtype.type(0.0), q.dtype.type(1.0)
    last = (time - 1) // block * block
    for begin in range(last, -1, -block):
        end = min(begin + block, time)
        width = _padded(end)
        padded_w = weights[: (end - begin) * width].reshape(end - begin, width)
        padded_ds = dscores[: (end - begin) * width].reshape(end - begin, width)
        w, ds = padded_w[:, :end], padded_ds[:, :end]
        gemm(scale, False, q[begin:end], True, k[:end], zero, w)  # the scores
        gemm(one, False, dy[begin:end], True, v[:end], zero, ds)  # dweights so far
        for t in range(begin, end):
            past = t + 1
            weights_row, dscores_row = padded_w[t - begin], padded_ds[t - begin]
            shared = zero
            for d in range(head_size):
                shared += dy[t, d] * y[t, d]
            row_lse = lse[t]
            for s in range(_padded(past)):
                weights_row[s] = exp(weights_row[s] - row_lse)
            if dropping:
                fill_mask_row(mask, past, first_row + t, threshold, mask_scale, key)
                for s in range(_padded(past)):
                    dscores_row[s] = weights_row[s] * (mask[s] * dscores_row[s] - shared)
                    weights_row[s] *= mask[s]
            else:
                for s in range(_padded(past)):
                    dscores_row[s] = weights_row[s] * (dscores_row[s] - shared)
            for s in range(past, width):
                weights_row[s], dscores_row[s] = 0.0, 0.0
        # the first block sees all keys, and writes their gradients; the others add to them
        beta = zero if begin == last else one
        gemm(scale, False, ds, False, k[:end], zero, dq[begin:end])
        gemm(scale, True, ds, False, q[begin:end], beta, dk[:end])
        gemm(one, True, w, False, dy[begin:end], beta, dv[:end])


@BLAS.on_one_thread
@for_any_heads
@parallel_kernel()
def _forward(q, k, v, scale, dropping, threshold, mask_scale, key, block, scratch, y, lse):
    batch, heads, time, _ = q.shape
    threads = scratch.shape[0]
    for thread in prange(threads):
        weights, mask = scratch[thread, 0], scratch[thread, 1]
        for pair in range(thread, batch * heads, threads):
            b, h = pair // heads, pair % heads
            _forward_pair(
                q[b, h], k[b, h], v[b, h],
                scale, dropping, threshold, mask_scale, key, pair * time,
                block, weights, mask, y[b, h], lse[b, h, :, 0],
            )  # fmt: skip


@BLAS.on_one_thread
@for_any_heads
@parallel_kernel()
def _backward(
    dy, q, k, v, y, lse, scale, dropping, threshold, mask_scale, key, block, scratch, dq, dk, dv
):
    batch, heads, time, _ = q.shape
    threads = scratch.shape[0]
    for thread in prange(threads):
        weights, dscores, mask = scratch[thread, 0], scratch[thread, 1], scratch[thread, 2]
        for pair in range(thread, batch * heads, threads):
            b, h = pair // heads, pair % heads
            _backward_pair(
                dy[b, h], q[b, h], k[b, h], v[b, h], y[b, h], lse[b, h, :, 0],
                scale, dropping, threshold, mask_scale, key, pair * time,
                block, weights, dscores, mask, dq[b, h], dk[b, h], dv[b, h],
            )  # fmt: skip


def _heads(x):
    """Copy an array whose rows are not contiguous; else return it as it is."""
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)


def _scratch(arrays, shape, dtype):
    # a block's arrays for each thread; a row of the mask has room in one
    batch, heads, time, _ = shape
    threads = min(numba.get_num_threads(), batch * heads)
    block = _block_rows(time)
    return block, empty((threads, arrays, block * _padded(time)), dtype)


def _like_heads(x):
    # laid out as (batch, time, heads, head_size), so that joining the heads copies nothing
    batch, heads, time, head_size = x.shape
    return empty((batch, time, heads, head_size), x.dtype).transpose(0, 2, 1, 3)


@compiled_form_of(reference.attention_forward)
def attention_forward(q, k, v, scale, p=0.0, key=None):  # noqa: D103
    y = _like_heads(q)
    lse = empty((*q.shape[:-1], 1), q.dtype)
    _forward(
        _heads(q),
        _heads(k),
        _heads(v),
        q.dtype.type(scale),
        *mask_arguments(p, key, q.dtype),
        *_scratch(2, q.shape, q.dtype),
        y,
        lse,
    )
    return y, lse


@compiled_form_of(reference.attention_backward)
def attention_backward(dy, q, k, v, y, lse, scale, p=0.0, key=None, out=None):  # noqa: D103
    dq, dk, dv = out or tuple(_like_heads(q) for _ in range(3))
    _backward(
        *(_heads(array) for array in (dy, q, k, v, y)),
        lse,
        q.dtype.type(scale),
        *mask_arguments(p, key, q.dtype),
        *_scratch(3, q.shape, q.dtype),
        dq,
        dk,
        dv,
    )
    return dq, dk, dv
