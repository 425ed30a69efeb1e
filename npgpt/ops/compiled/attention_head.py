"""One head of attention, one block of rows at a time.

The (time, keys) scores and mask never exist: a block of rows is made by a matrix product, used and
forgotten, and backward makes it again from the log-sum-exp. Columns that the whole block may not
see are never computed, on either side. Above each line of backward stands the line of forward that
it undoes.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from npgpt.ops.array import Array
from npgpt.ops.compiled.blas import gemm
from npgpt.ops.compiled.dropout import KeyWords, fill_mask_row
from npgpt.ops.compiled.jit import exp, inline_kernel, kernel

# What goes through a row goes to the next multiple of this many columns, beyond what a position may
# see: those are set to 0 in the end. A vectorised loop handles 64 numbers at a time and the rest
# one by one, and the rest would be all of a short row.
STRIP = 64

# Written into its caller: a call would go to the kernel's own code in the process that compiles it,
# and to the caller's copy of it, which rounds otherwise, once that is read from the cache.
head_kernel = functools.partial(kernel, forceinline=True)


class Choices(NamedTuple):
    """What all heads have in common: numbers only."""

    scale: float
    before: int  # positions before a query's own that it sees, and after it
    after: int
    block: int  # queries at a time
    dropping: bool
    threshold: np.uint64  # of a weight's random number, below which it is dropped
    mask_scale: float  # of a weight that is kept


class Head(NamedTuple):
    """What one head reads."""

    q: Array  # (time, head_size)
    k: Array  # (keys, head_size)
    v: Array
    bias: Array  # (columns,), empty if there is none
    length: int  # keys that are there
    key: KeyWords  # of the dropout mask
    row: int  # of the mask, for the first query


class Kept(NamedTuple):
    """What forward makes of one head, and backward reads."""

    y: Array  # (time, head_size)
    lse: Array  # (time,)


class Gradients(NamedTuple):
    """Where backward writes those of one head; ``dbias`` is empty if there is none."""

    dq: Array
    dk: Array
    dv: Array
    dbias: Array


@inline_kernel()
def padded(columns: int) -> int:
    """Round up to whole strips."""
    return (columns + STRIP - 1) // STRIP * STRIP


@inline_kernel()
def _columns_of_block(begin: int, end: int, choices: Choices, length: int) -> tuple[int, int]:
    """The columns that some position from ``begin`` to ``end`` sees, from the start of a strip."""
    low = max(0, begin - choices.before) // STRIP * STRIP
    return low, max(low, min(end + choices.after, length))


@inline_kernel()
def _columns_of_row(position: int, low: int, high: int, choices: Choices) -> tuple[int, int]:
    """Those that one of these positions sees, counted from ``low``."""
    last = max(0, min(position + 1 + choices.after, high) - low)
    return min(last, max(0, position - choices.before - low)), last


@head_kernel()
def _softmax_row(scores: Array, first: int, last: int) -> tuple[float, float]:
    """Turn a row of scores to unnormalised weights, of no meaning before ``first`` and from ``last``.

    Returns what to divide them by, and the log-sum-exp of the scores.
    """  # noqa: E501
    if first == last:  # no key
        return scores.dtype.type(1.0), scores.dtype.type(np.inf)
    end = padded(last)
    for s in range(first):
        scores[s] = -np.inf
    for s in range(last, end):
        scores[s] = -np.inf
    largest = scores[0]
    for s in range(end):
        largest = max(largest, scores[s])
    total = scores.dtype.type(0.0)
    for s in range(end):
        scores[s] = exp(scores[s] - largest)
        total += scores[s]
    return total, largest + math.log(total)


@head_kernel()
def _fill_mask_row(
    mask: Array, low: int, columns: int, t: int, head: Head, choices: Choices
) -> None:
    row, threshold, scale = head.row + t, choices.threshold, choices.mask_scale
    fill_mask_row(mask, low, columns, row, threshold, scale, head.key)


@head_kernel()
def _add_bias(row: Array, columns: int, bias: Array, at: int) -> None:
    for s in range(columns):
        row[s] += bias[at + s]


@head_kernel()
def forward_head(head: Head, choices: Choices, scratch: Array, kept: Kept) -> None:
    """Attend with one head, in ``scratch`` of 2 rows of ``block * columns``."""
    q, k, v, bias = head.q, head.k, head.v, head.bias
    y, lse = kept
    time, keys = q.shape[0], k.shape[0]
    past = keys - time
    zero, one = q.dtype.type(0.0), q.dtype.type(1.0)
    mask = scratch[1]
    for begin in range(0, time, choices.block):
        end = min(begin + choices.block, time)
        low, high = _columns_of_block(past + begin, past + end, choices, head.length)
        if low == high:  # no key for any of them
            y[begin:end], lse[begin:end] = zero, np.inf
            continue
        width = padded(high - low)
        rows = scratch[0, : (end - begin) * width].reshape(end - begin, width)
        w = rows[:, : high - low]
        gemm(choices.scale, False, q[begin:end], True, k[low:high], zero, w)  # scale * q @ k.T
        for t in range(begin, end):
            position, row = past + t, rows[t - begin]
            first, last = _columns_of_row(position, low, high, choices)
            if bias.size:
                _add_bias(row, padded(last), bias, keys - 1 - position + low)
            total, lse[t] = _softmax_row(row, first, last)
            over_total = one / total
            if choices.dropping:
                _fill_mask_row(mask, low, last, t, head, choices)
                for s in range(padded(last)):
                    row[s] *= over_total * mask[s]
            else:
                for s in range(padded(last)):
                    row[s] *= over_total
            for s in range(first):
                row[s] = 0.0
            for s in range(last, width):
                row[s] = 0.0
        gemm(one, False, w, False, v[low:high], zero, y[begin:end])  # y = w @ v


@head_kernel()
def backward_head(
    dy: Array, head: Head, kept: Kept, choices: Choices, scratch: Array, add: bool,
    gradients: Gradients,
) -> None:  # fmt: skip
    """Send ``dy`` back through one head, in ``scratch`` of 3 rows; ``add`` to dk and dv."""
    q, k, v, bias = head.q, head.k, head.v, head.bias
    y, lse = kept
    dq, dk, dv, dbias = gradients
    time, head_size = q.shape
    keys = k.shape[0]
    past = keys - time
    zero, one = q.dtype.type(0.0), q.dtype.type(1.0)
    mask = scratch[2]
    # the last block sees all keys, unless the mask hides some: it can write their gradients, and
    # the others add to them
    if (choices.before + 1 < keys or head.length < keys) and not add:
        dk[:], dv[:], add = zero, zero, True
    beta = one if add else zero
    for begin in range((time - 1) // choices.block * choices.block, -1, -choices.block):
        end = min(begin + choices.block, time)
        low, high = _columns_of_block(past + begin, past + end, choices, head.length)
        if low == high:  # y[begin:end] = 0
            dq[begin:end] = zero
            continue
        width = padded(high - low)
        rows = scratch[0, : (end - begin) * width].reshape(end - begin, width)
        drows = scratch[1, : (end - begin) * width].reshape(end - begin, width)
        w, dw = rows[:, : high - low], drows[:, : high - low]
        # forward's rows of w again: scores = scale * q @ k.T here, their softmax below
        gemm(choices.scale, False, q[begin:end], True, k[low:high], zero, w)
        # y = w @ v, so dw = dy @ v.T; dv = w.T @ dy needs all of w, and comes after the loop
        gemm(one, False, dy[begin:end], True, v[low:high], zero, dw)
        for t in range(begin, end):
            position, row, drow = past + t, rows[t - begin], drows[t - begin]
            first, last = _columns_of_row(position, low, high, choices)
            at = keys - 1 - position + low
            if bias.size:
                _add_bias(row, padded(last), bias, at)
            row_lse = lse[t]
            for s in range(padded(last)):
                row[s] = exp(row[s] - row_lse)
            # total, lse[t] = softmax_row(row), so drow = row * (drow - sum(drow * row)), and that
            # sum is dy . y
            shared = zero
            for d in range(head_size):
                shared += dy[t, d] * y[t, d]
            if choices.dropping:
                _fill_mask_row(mask, low, last, t, head, choices)
                for s in range(padded(last)):
                    # row *= over_total * mask, so drow *= mask before it goes through the softmax
                    drow[s] = row[s] * (mask[s] * drow[s] - shared)
                    row[s] *= mask[s]
            else:
                for s in range(padded(last)):
                    # row *= over_total
                    drow[s] = row[s] * (drow[s] - shared)
            # row[:first], row[last:] = 0, so their gradients are 0
            for s in range(first):
                row[s], drow[s] = 0.0, 0.0
            for s in range(last, width):
                row[s], drow[s] = 0.0, 0.0
            if dbias.size:
                # row += bias[at : at + last]
                for s in range(last):
                    dbias[at + s] += drow[s]
        # y = w @ v
        gemm(one, True, w, False, dy[begin:end], beta, dv[low:high])
        # scores = scale * q @ k.T; dw is their gradient now
        gemm(choices.scale, False, dw, False, k[low:high], zero, dq[begin:end])
        gemm(choices.scale, True, dw, False, q[begin:end], beta, dk[low:high])
        beta = one
