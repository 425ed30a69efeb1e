"""Attention, one (batch, head) pair to a thread, one block of rows at a time.

The (time, keys) scores and mask never exist: a block of rows is made by a matrix product, used and
forgotten, and backward makes it again from the log-sum-exp. Columns that the whole block may not
see are never computed, on either side.
"""

import math
from typing import NamedTuple

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
from npgpt.ops.mask import CAUSAL
from npgpt.ops.reference.attention import bias_columns
from npgpt.ops.workspace import empty

# What goes through a row goes to the next multiple of this many columns, beyond what a position may
# see: those are set to 0 in the end. A vectorised loop handles 64 numbers at a time and the rest
# one by one, and the rest would be all of a short row.
STRIP = 64
BLOCK_ROWS = 64


class Seen(NamedTuple):
    """Which columns the queries of one sequence see: `Mask` in numbers."""

    before: int  # positions before a query's own
    after: int  # and after it
    length: int  # keys that are there


class Drop(NamedTuple):
    """Which weights of one head are dropped: what `mask_arguments` returns, and a row."""

    any: bool
    threshold: int
    scale: float
    key: tuple
    row: int  # of the mask, for the head's first query


@inline_kernel()
def _padded(columns):
    """Round up to whole strips."""
    return (columns + STRIP - 1) // STRIP * STRIP


@inline_kernel()
def _columns_of_block(begin, end, seen):
    """The columns that some position from ``begin`` to ``end`` sees, from the start of a strip."""
    low = max(0, begin - seen.before) // STRIP * STRIP
    return low, max(low, min(end + seen.after, seen.length))


@inline_kernel()
def _columns_of_row(position, low, high, seen):
    """Those that one of these positions sees, counted from ``low``."""
    last = max(0, min(position + 1 + seen.after, high) - low)
    return min(last, max(0, position - seen.before - low)), last


@kernel()
def _softmax_row(scores, first, last):
    """Turn a row of scores to unnormalised weights, of no meaning before ``first`` and from ``last``.

    Returns what to divide them by, and the log-sum-exp of the scores.
    """  # noqa: E501
    if first == last:  # no key
        return scores.dtype.type(1.0), scores.dtype.type(np.inf)
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


@kernel()
def _add_bias(row, columns, bias, at):
    for s in range(columns):
        row[s] += bias[at + s]


@kernel()
def _forward_head(q, k, v, scale, seen, bias, drop, block, scratch, y, lse):
    time, keys = q.shape[0], k.shape[0]
    past = keys - time
    zero, one = q.dtype.type(0.0), q.dtype.type(1.0)
    mask = scratch[1]
    for begin in range(0, time, block):
        end = min(begin + block, time)
        low, high = _columns_of_block(past + begin, past + end, seen)
        if low == high:  # no key for any of them
            y[begin:end], lse[begin:end] = zero, np.inf
            continue
        width = _padded(high - low)
        padded = scratch[0, : (end - begin) * width].reshape(end - begin, width)
        weights = padded[:, : high - low]
        gemm(scale, False, q[begin:end], True, k[low:high], zero, weights)  # scale * q @ k.T
        for t in range(begin, end):
            position, row = past + t, padded[t - begin]
            first, last = _columns_of_row(position, low, high, seen)
            if bias.size:
                _add_bias(row, _padded(last), bias, keys - 1 - position + low)
            total, lse[t] = _softmax_row(row, first, last)
            over_total = one / total
            if drop.any:
                fill_mask_row(mask, low, last, drop.row + t, drop.threshold, drop.scale, drop.key)
                for s in range(_padded(last)):
                    row[s] *= over_total * mask[s]
            else:
                for s in range(_padded(last)):
                    row[s] *= over_total
            for s in range(first):
                row[s] = 0.0
            for s in range(last, width):
                row[s] = 0.0
        gemm(one, False, weights, False, v[low:high], zero, y[begin:end])  # y = weights @ v


@kernel()
def _backward_head(
    dy, q, k, v, y, lse, scale, seen, bias, drop, block, scratch, add, dq, dk, dv, dbias
):
    time, head_size = q.shape
    keys = k.shape[0]
    past = keys - time
    zero, one = q.dtype.type(0.0), q.dtype.type(1.0)
    mask = scratch[2]
    # the last block sees all keys, unless the mask hides some: it can write their gradients, and
    # the others add to them
    if (seen.before + 1 < keys or seen.length < keys) and not add:
        dk[:], dv[:], add = zero, zero, True
    beta = one if add else zero
    for begin in range((time - 1) // block * block, -1, -block):
        end = min(begin + block, time)
        low, high = _columns_of_block(past + begin, past + end, seen)
        if low == high:  # y[begin:end] = 0
            dq[begin:end] = zero
            continue
        width = _padded(high - low)
        padded_w = scratch[0, : (end - begin) * width].reshape(end - begin, width)
        padded_ds = scratch[1, : (end - begin) * width].reshape(end - begin, width)
        weights, dscores = padded_w[:, : high - low], padded_ds[:, : high - low]
        gemm(scale, False, q[begin:end], True, k[low:high], zero, weights)  # as in forward
        # y = weights @ v, so dweights = dy @ v.T; they become the scores' below
        gemm(one, False, dy[begin:end], True, v[low:high], zero, dscores)
        for t in range(begin, end):
            position, w, ds = past + t, padded_w[t - begin], padded_ds[t - begin]
            first, last = _columns_of_row(position, low, high, seen)
            at = keys - 1 - position + low
            shared = zero  # sum(dw * w) = dy . y
            for d in range(head_size):
                shared += dy[t, d] * y[t, d]
            row_lse = lse[t]
            if bias.size:
                _add_bias(w, _padded(last), bias, at)  # as in forward
            for s in range(_padded(last)):
                w[s] = exp(w[s] - row_lse)
            if drop.any:
                # dropped = mask * w, so dw = mask * ddropped; w = softmax(scores), so
                # ds = w * (dw - shared)
                fill_mask_row(mask, low, last, drop.row + t, drop.threshold, drop.scale, drop.key)
                for s in range(_padded(last)):
                    ds[s] = w[s] * (mask[s] * ds[s] - shared)
                    w[s] *= mask[s]
            else:
                for s in range(_padded(last)):
                    ds[s] = w[s] * (ds[s] - shared)
            # where scores were -inf, w = 0, so ds = 0
            for s in range(first):
                w[s], ds[s] = 0.0, 0.0
            for s in range(last, width):
                w[s], ds[s] = 0.0, 0.0
            if dbias.size:  # scores += bias[at : at + last], so
                for s in range(last):
                    dbias[at + s] += ds[s]
        # scores = scale * q @ k.T, so dq = scale * dscores @ k and dk = scale * dscores.T @ q
        gemm(scale, False, dscores, False, k[low:high], zero, dq[begin:end])
        gemm(scale, True, dscores, False, q[begin:end], beta, dk[low:high])
        # y = weights @ v, so dv = weights.T @ dy
        gemm(one, True, weights, False, dy[begin:end], beta, dv[low:high])
        beta = one


@BLAS.on_one_thread
@for_any_heads
@parallel_kernel()
def _forward(
    q, k, v, scale, before, after, lengths, bias, dropping, threshold, mask_scale, key, block,
    scratch, y, lse,
):  # fmt: skip
    batch, heads, time, _ = q.shape
    group = heads // k.shape[1]  # heads that share a head of keys and values
    threads = scratch.shape[0]
    for thread in prange(threads):
        for pair in range(thread, batch * heads, threads):
            b, h = pair // heads, pair % heads
            _forward_head(
                q[b, h], k[b, h // group], v[b, h // group], scale,
                Seen(before, after, lengths[b]), bias[h],
                Drop(dropping, threshold, mask_scale, key, pair * time),
                block, scratch[thread], y[b, h], lse[b, h, :, 0],
            )  # fmt: skip


@BLAS.on_one_thread
@for_any_heads
@parallel_kernel()
def _backward(
    dy, q, k, v, y, lse, scale, before, after, lengths, bias, dropping, threshold, mask_scale, key,
    block, scratch, dq, dk, dv, dbias,
):  # fmt: skip
    batch, heads, time, _ = q.shape
    n_kv_heads = k.shape[1]
    group = heads // n_kv_heads
    threads = scratch.shape[0]
    for thread in prange(threads):
        for pair in range(thread, batch * n_kv_heads, threads):
            b, shared = pair // n_kv_heads, pair % n_kv_heads
            for member in range(group):
                h = shared * group + member
                _backward_head(
                    dy[b, h], q[b, h], k[b, shared], v[b, shared], y[b, h], lse[b, h, :, 0], scale,
                    Seen(before, after, lengths[b]), bias[h],
                    Drop(dropping, threshold, mask_scale, key, (b * heads + h) * time),
                    block, scratch[thread], member > 0,
                    dq[b, h], dk[b, shared], dv[b, shared], dbias[b, h],
                )  # fmt: skip


def _heads(x):
    """Copy an array whose rows are not contiguous; else return it as it is."""
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)


def _like_heads(x):
    # laid out as (batch, time, heads, head_size), so that joining the heads copies nothing
    batch, heads, time, head_size = x.shape
    return empty((batch, time, heads, head_size), x.dtype).transpose(0, 2, 1, 3)


def _shared(arrays, pairs, q, k, scale, mask, p, key, bias):
    """What both kernels take: scale, mask, biases, dropout, and blocks' arrays for each thread."""
    (batch, heads, time, _), keys = q.shape, k.shape[2]
    before, after = mask.reach(time, keys)
    lengths = np.empty(batch, np.int64)
    lengths[:] = keys if mask.lengths is None else np.minimum(mask.lengths, keys)
    # from the largest distance on, so that a row reads them in its order; a strip of zeros follows
    biases = np.empty((heads, 0), q.dtype)
    if bias is not None:
        columns = bias_columns(bias, mask, time, keys)
        biases = np.zeros((heads, columns + STRIP), q.dtype)
        biases[:, :columns] = bias[:, : -columns - 1 : -1]
    # causal: two blocks at least, so that half the scores above the diagonal are not computed
    block = min(BLOCK_ROWS, (time + 1) // 2 if mask.causal else time)
    columns = _padded(min(keys, before + after + 1 + block + STRIP))
    scratch = empty((min(numba.get_num_threads(), pairs), arrays, block * columns), q.dtype)
    dropping = mask_arguments(p, key, q.dtype)
    return q.dtype.type(scale), before, after, lengths, biases, *dropping, block, scratch


@compiled_form_of(reference.attention_forward)
def attention_forward(q, k, v, *, scale, mask=CAUSAL, p=0.0, key=None, bias=None):  # noqa: D103
    y = _like_heads(q)
    lse = empty((*q.shape[:-1], 1), q.dtype)
    shared = _shared(2, q.shape[0] * q.shape[1], q, k, scale, mask, p, key, bias)
    _forward(*(_heads(array) for array in (q, k, v)), *shared, y, lse)
    return y, lse


@compiled_form_of(reference.attention_backward)
def attention_backward(  # noqa: D103
    dy, q, k, v, y, lse, *, scale, mask=CAUSAL, p=0.0, key=None, bias=None, dbias=None, out=None
):
    dq, dk, dv = out or tuple(_like_heads(x) for x in (q, k, v))
    # a part for each example and head, so that no two threads add to one
    columns = 0 if dbias is None else bias_columns(dbias, mask, q.shape[2], k.shape[2])
    parts = np.zeros((*q.shape[:2], columns), q.dtype)
    shared = _shared(3, q.shape[0] * k.shape[1], q, k, scale, mask, p, key, bias)
    _backward(*(_heads(array) for array in (dy, q, k, v, y)), lse, *shared, dq, dk, dv, parts)
    if dbias is not None:
        dbias[:, -columns:] += parts.sum(axis=0)[:, ::-1]
    return dq, dk, dv
