"""Attention of one new position, each head's keys and values read once."""

import numba
import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.jit import compiled_form_of, exp, for_any_heads, kernel, parallel_kernel
from npgpt.ops.workspace import empty

__all__ = ["cached_attention_forward"]


@kernel()
def _dot(a: Array, b: Array) -> float:
    total = a.dtype.type(0.0)
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@kernel()
def _head(
    q: Array, keys: Array, values: Array, length: int, scale: float, window: int, bias: Array,
    weights: Array, y: Array,
) -> None:  # fmt: skip
    """One head of one sequence."""
    first = max(0, length - window)
    for s in range(first, length):
        weights[s] = scale * _dot(q, keys[s])
    if bias.size:
        for s in range(first, length):
            weights[s] += bias[length - 1 - s]
    largest = weights[first]
    for s in range(first, length):
        largest = max(largest, weights[s])
    total = weights.dtype.type(0.0)
    for s in range(first, length):
        weights[s] = exp(weights[s] - largest)
        total += weights[s]
    for j in range(y.size):
        y[j] = 0.0
    for s in range(first, length):
        weight, value = weights[s], values[s]
        for j in range(y.size):
            y[j] += weight * value[j]
    over_total = weights.dtype.type(1.0) / total
    for j in range(y.size):
        y[j] *= over_total


@for_any_heads
@parallel_kernel()
def _forward(
    q: Array, keys: Array, values: Array, lengths: Array, scale: float, window: int, bias: Array,
    weights: Array, y: Array,
) -> None:  # fmt: skip
    batch, heads = q.shape[0], q.shape[1]
    group = heads // keys.shape[1]
    threads = weights.shape[0]
    for thread in prange(threads):
        # neighbours share keys and values, so each thread takes a stretch
        for pair in range(
            thread * batch * heads // threads, (thread + 1) * batch * heads // threads
        ):
            b, h = pair // heads, pair % heads
            _head(
                q[b, h, 0], keys[b, h // group], values[b, h // group],
                lengths[b], scale, window, bias[h], weights[thread], y[b, h, 0],
            )  # fmt: skip


@compiled_form_of(reference.cached_attention_forward)
def cached_attention_forward(  # noqa: D103
    q: Array, keys: Array, values: Array, lengths: Array, *, scale: float,
    window: int | None = None, bias: Array | None = None,
) -> Array:  # fmt: skip
    batch, heads, _, head_size = q.shape
    capacity = keys.shape[2]
    y = empty((batch, 1, heads, head_size), q.dtype).transpose(0, 2, 1, 3)
    if bias is None:
        bias = np.empty((heads, 0), q.dtype)
    threads = min(numba.get_num_threads(), batch * heads)
    weights = empty((threads, capacity), q.dtype)
    q = q if q.strides[-1] == q.itemsize else np.ascontiguousarray(q)
    _forward(
        q,
        keys,
        values,
        np.asarray(lengths, np.int64),
        q.dtype.type(scale),
        min(window or capacity, capacity),
        np.ascontiguousarray(bias, q.dtype),
        weights,
        y,
    )
    return y
