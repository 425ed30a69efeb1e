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
def _softmax_row(scores, first, last):
    """Turn a row of scores to unnormalised weights, of no meaning before ``first`` and from ``last``.

    Returns their sum, and the log-sum-exp of the scores.
    """  # noqa: E501
    padded = _padded(last)
    for s in range(first):
        scores[s] = -np.inf
    for s in range(last, padded):
        scores[s] = -np.inf
    largest = scores[0]
    for s in range(padded):
        largest = max(largest, scores[s])
    total = scores.dtype.type(0.0)
    for s in range(padded):
        scores[s] = exp(scores[s] - largest)
        total += scores[s]
    return total, largest + math.log(total)


@inline_kernel()
def _low(position, window):
    """The first column of a block whose first query has this position, at the start of a strip."""
    return max(0, position - window + 1) // STRIP * STRIP


@kernel()
def _add_bias(row, columns, bias, at):
    for s in range(columns):
        row[s] += bias[at + s]


@kernel()
def _forward_head(
    q, k, v, scale, window, bias, dropping, threshold, mask_scale, key, first_row, block, weights,
    mask, y, lse,
):  # fmt: skip
    time, keys = q.shape[0], k.shape[0]
    past = keys - time
    zero, one = q.dtype.type(0.0), q.dtype.type(1.0)
    for begin in range(0, time, block):
        end = min(begin + block, time)
        low, high = _low(past + begin, window), past + end
        width = _padded(high - low)
        padded = weights[: (end - begin) * width].reshape(end - begin, width)
        rows = padded[:, : high - low]
        gemm(scale, False, q[begin:end], True, k[low:high], zero, rows)
        for t in range(begin, end):
            position, row = past + t, padded[t - begin]
            first, last = max(position - window + 1, low) - low, position + 1 - low
            if bias.size:
                _add_bias(row, _padded(last), bias, keys - 1 - position + low)
            total, lse[t] = _softmax_row(row, first, last)
            over_total = one / total
            if dropping:
                fill_mask_row(mask, low, last, first_row + t, threshold, mask_scale, key)
                for s in range(_padded(last)):
                    row[s] *= over_total * mask[s]
            else:
                for s in range(_padded(last)):
                    row[s] *= over_total
            for s in range(first):
                row[s] = 0.0
            for s in range(last, width):
                row[s] = 0.0
        gemm(one, False, rows, False, v[low:high], zero, y[begin:end])


@kernel()
def _backward_head(
    dy, q, k, v, y, lse, scale, window, bias, dropping, threshold, mask_scale, key, first_row,
    block, weights, dscores, mask, add, dq, dk, dv, dbias,
):  # fmt: skip
    time, head_size = q.shape
    keys = k.shape[0]
    past = keys - time
    zero, one = q.dtype.type(0.0), q.dtype.type(1.0)
    # the last block sees all keys, unless a window hides some: it can write their gradients, and
    # the others add to them
    if window < keys and not add:
        dk[:], dv[:], add = zero, zero, True
    beta = one if add else zero
    for begin in range((time - 1) // block * block, -1, -block):
        end = min(begin + block, time)
        low, high = _low(past + begin, window), past + end
        width = _padded(high - low)
        padded_w = weights[: (end - begin) * width].reshape(end - begin, width)
        padded_ds = dscores[: (end - begin) * width].reshape(end - begin, width)
        w, ds = padded_w[:, : high - low], padded_ds[:, : high - low]
        gemm(scale, False, q[begin:end], True, k[low:high], zero, w)  # the scores
        gemm(one, False, dy[begin:end], True, v[low:high], zero, ds)  # dweights so far
        for t in range(begin, end):
            position = past + t
            first, last = max(position - window + 1, low) - low, position + 1 - low
            at = keys - 1 - position + low
            weights_row, dscores_row = padded_w[t - begin], padded_ds[t - begin]
            shared = zero
            for d in range(head_size):
                shared += dy[t, d] * y[t, d]
            row_lse = lse[t]
            if bias.size:
                _add_bias(weights_row, _padded(last), bias, at)
            for s in range(_padded(last)):
                weights_row[s] = exp(weights_row[s] - row_lse)
            if dropping:
                fill_mask_row(mask, low, last, first_row + t, threshold, mask_scale, key)
                for s in range(_padded(last)):
                    dscores_row[s] = weights_row[s] * (mask[s] * dscores_row[s] - shared)
                    weights_row[s] *= mask[s]
            else:
                for s in range(_padded(last)):
                    dscores_row[s] = weights_row[s] * (dscores_row[s] - shared)
            for s in range(first):
                weights_row[s], dscores_row[s] = 0.0, 0.0
            for s in range(last, width):
                weights_row[s], dscores_row[s] = 0.0, 0.0
            if dbias.size:
                for s in range(last):
                    dbias[at + s] += dscores_row[s]
        gemm(scale, False, ds, False, k[low:high], zero, dq[begin:end])
        gemm(scale, True, ds, False, q[begin:end], beta, dk[low:high])
        gemm(one, True, w, False, dy[begin:end], beta, dv[low:high])
        beta = one


@BLAS.on_one_thread
@for_any_heads
@parallel_kernel()
def _forward(
    q, k, v, scale, window, bias, dropping, threshold, mask_scale, key, block, scratch, y, lse
):
    batch, heads, time, _ = q.shape
    group = heads // k.shape[1]  # heads that share a head of keys and values
    threads = scratch.shape[0]
    for thread in prange(threads):
        weights, mask = scratch[thread, 0], scratch[thread, 1]
        for pair in range(thread, batch * heads, threads):
            b, h = pair // heads, pair % heads
            _forward_head(
                q[b, h], k[b, h // group], v[b, h // group], scale, window, bias[h],
                dropping, threshold, mask_scale, key, pair * time,
                block, weights, mask, y[b, h], lse[b, h, :, 0],
            )  # fmt: skip


@BLAS.on_one_thread
@for_any_heads
@parallel_kernel()
def _backward(
    dy, q, k, v, y, lse, scale, window, bias, dropping, threshold, mask_scale, key, block, scratch,
    dq, dk, dv, dbias,
):  # fmt: skip
    batch, heads, time, _ = q.shape
    n_kv_heads = k.shape[1]
    group = heads // n_kv_heads
    threads = scratch.shape[0]
    for thread in prange(threads):
        weights, dscores, mask = scratch[thread, 0], scratch[thread, 1], scratch[thread, 2]
        for pair in range(thread, batch * n_kv_heads, threads):
            b, shared = pair // n_kv_heads, pair % n_kv_heads
            for member in range(group):
                h = shared * group + member
                _backward_head(
                    dy[b, h], q[b, h], k[b, shared], v[b, shared], y[b, h], lse[b, h, :, 0],
                    scale, window, bias[h], dropping, threshold, mask_scale, key,
                    (b * heads + h) * time, block, weights, dscores, mask, member > 0,
                    dq[b, h], dk[b, shared], dv[b, shared], dbias[b, h],
                )  # fmt: skip


def _heads(x):
    """Copy an array whose rows are not contiguous; else return it as it is."""
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)


def _scratch(arrays, pairs, q, keys, window):
    # a block's arrays for each thread; a row of the mask has room in one
    threads = min(numba.get_num_threads(), pairs)
    block = _block_rows(q.shape[2])
    columns = _padded(min(keys, window + block + STRIP))
    return block, empty((threads, arrays, block * columns), q.dtype)


def _like_heads(x):
    # laid out as (batch, time, heads, head_size), so that joining the heads copies nothing
    batch, heads, time, head_size = x.shape
    return empty((batch, time, heads, head_size), x.dtype).transpose(0, 2, 1, 3)


def _reversed_bias(bias, q, keys):
    """Each head's biases from the largest distance to 0, so that a row reads them in its order.

    A strip of zeros follows. Without a bias the rows are empty.
    """
    heads = q.shape[1]
    if bias is None:
        return np.empty((heads, 0), q.dtype)
    padded = np.zeros((heads, keys + STRIP), q.dtype)
    padded[:, :keys] = bias[:, keys - 1 :: -1]
    return padded


@compiled_form_of(reference.attention_forward)
def attention_forward(q, k, v, scale, p=0.0, key=None, window=None, bias=None):  # noqa: D103
    y = _like_heads(q)
    lse = empty((*q.shape[:-1], 1), q.dtype)
    keys = k.shape[2]
    window = min(window or keys, keys)
    _forward(
        _heads(q),
        _heads(k),
        _heads(v),
        q.dtype.type(scale),
        window,
        _reversed_bias(bias, q, keys),
        *mask_arguments(p, key, q.dtype),
        *_scratch(2, q.shape[0] * q.shape[1], q, keys, window),
        y,
        lse,
    )
    return y, lse


@compiled_form_of(reference.attention_backward)
def attention_backward(  # noqa: D103
    dy, q, k, v, y, lse, scale, p=0.0, key=None, out=None, window=None, bias=None, dbias=None
):
    dq, dk, dv = out or tuple(_like_heads(x) for x in (q, k, v))
    batch, heads, keys = q.shape[0], q.shape[1], k.shape[2]
    window = min(window or keys, keys)
    # a part for each example and head, so that no two threads add to one
    parts = np.zeros((batch, heads, 0 if dbias is None else keys), q.dtype)
    _backward(
        *(_heads(array) for array in (dy, q, k, v, y)),
        lse,
        q.dtype.type(scale),
        window,
        _reversed_bias(bias, q, keys),
        *mask_arguments(p, key, q.dtype),
        *_scratch(3, batch * k.shape[1], q, keys, window),
        dq,
        dk,
        dv,
        parts,
    )
    if dbias is not None:
        dbias += parts.sum(axis=0)[:, ::-1]
    return dq, dk, dv
