"""Attention, one (batch, head) pair to a thread."""

import numba
import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.attention_head import (
    STRIP,
    Choices,
    Gradients,
    Head,
    Kept,
    backward_head,
    forward_head,
    padded,
)
from npgpt.ops.compiled.blas import BLAS
from npgpt.ops.compiled.dropout import KeyWords, key_words, mask_numbers
from npgpt.ops.compiled.jit import compiled_form_of, for_any_heads, parallel_kernel
from npgpt.ops.mask import CAUSAL, Mask
from npgpt.ops.reference.attention import bias_columns
from npgpt.ops.reference.dropout import DropoutKey, needed
from npgpt.ops.workspace import empty

__all__ = ["attention_backward", "attention_forward"]

BLOCK_ROWS = 64

NO_KEY = DropoutKey(0, 0, 0)  # where nothing is dropped


@BLAS.on_one_thread
@for_any_heads
@parallel_kernel()
def _forward(
    q: Array, k: Array, v: Array, bias: Array, lengths: Array, choices: Choices, key: KeyWords,
    scratch: Array, y: Array, lse: Array,
) -> None:  # fmt: skip
    batch, heads, time, _ = q.shape
    group = heads // k.shape[1]  # heads that share a head of keys and values
    threads = scratch.shape[0]
    for thread in prange(threads):
        for pair in range(thread, batch * heads, threads):
            b, h = pair // heads, pair % heads
            shared, row = h // group, pair * time
            head = Head(q[b, h], k[b, shared], v[b, shared], bias[h], lengths[b], key, row)
            forward_head(head, choices, scratch[thread], Kept(y[b, h], lse[b, h, :, 0]))


@BLAS.on_one_thread
@for_any_heads
@parallel_kernel()
def _backward(
    dy: Array, q: Array, k: Array, v: Array, bias: Array, lengths: Array, choices: Choices,
    key: KeyWords, scratch: Array, y: Array, lse: Array, dq: Array, dk: Array, dv: Array,
    dbias: Array,
) -> None:  # fmt: skip
    batch, heads, time, _ = q.shape
    n_kv_heads = k.shape[1]
    group = heads // n_kv_heads
    threads = scratch.shape[0]
    for thread in prange(threads):
        for pair in range(thread, batch * n_kv_heads, threads):
            b, shared = pair // n_kv_heads, pair % n_kv_heads
            for member in range(group):
                h = shared * group + member
                row = (b * heads + h) * time
                head = Head(q[b, h], k[b, shared], v[b, shared], bias[h], lengths[b], key, row)
                kept = Kept(y[b, h], lse[b, h, :, 0])
                gradients = Gradients(dq[b, h], dk[b, shared], dv[b, shared], dbias[b, h])
                backward_head(dy[b, h], head, kept, choices, scratch[thread], member > 0, gradients)


def _heads(x: Array) -> Array:
    """Copy an array whose rows are not contiguous; else return it as it is."""
    return x if _has_whole_rows(x) else np.ascontiguousarray(x)


def _has_whole_rows(x: Array) -> bool:
    return x.strides[-1] == x.itemsize


def _like_heads(x: Array) -> Array:
    # laid out as (batch, time, heads, head_size), so that joining the heads copies nothing
    batch, heads, time, head_size = x.shape
    return empty((batch, time, heads, head_size), x.dtype).transpose(0, 2, 1, 3)


def _shared(
    arrays: int, pairs: int, q: Array, k: Array, scale: float, mask: Mask, p: float,
    key: DropoutKey | None, bias: Array | None,
) -> tuple[Array, Array, Choices, KeyWords, Array]:  # fmt: skip
    """What both kernels take: biases, lengths, choices, dropout's key, and each thread's arrays."""
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
    columns = padded(min(keys, before + after + 1 + block + STRIP))
    scratch = empty((min(numba.get_num_threads(), pairs), arrays, block * columns), q.dtype)
    words = key_words(needed(key, p) if p > 0.0 else NO_KEY)
    threshold, mask_scale = mask_numbers(p, q.dtype)
    choices = Choices(q.dtype.type(scale), before, after, block, p > 0.0, threshold, mask_scale)
    return biases, lengths, choices, words, scratch


@compiled_form_of(reference.attention_forward)
def attention_forward(  # noqa: D103
    q: Array, k: Array, v: Array, *, scale: float, mask: Mask = CAUSAL, p: float = 0.0,
    key: DropoutKey | None = None, bias: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    if not q.dtype == k.dtype == v.dtype:
        return reference.attention_forward(q, k, v, scale=scale, mask=mask, p=p, key=key, bias=bias)
    y = _like_heads(q)
    lse = empty((*q.shape[:-1], 1), q.dtype)
    shared = _shared(2, q.shape[0] * q.shape[1], q, k, scale, mask, p, key, bias)
    _forward(*(_heads(array) for array in (q, k, v)), *shared, y, lse)
    return y, lse


@compiled_form_of(reference.attention_backward)
def attention_backward(  # noqa: D103
    dy: Array, q: Array, k: Array, v: Array, y: Array, lse: Array, *, scale: float,
    mask: Mask = CAUSAL, p: float = 0.0, key: DropoutKey | None = None, bias: Array | None = None,
    dbias: Array | None = None, out: tuple[Array, Array, Array] | None = None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    arrays = (dy, q, k, v, y, *(out or ()))
    if not all(x.dtype == q.dtype for x in arrays) or not all(map(_has_whole_rows, out or ())):
        return reference.attention_backward(
            dy, q, k, v, y, lse,
            scale=scale, mask=mask, p=p, key=key, bias=bias, dbias=dbias, out=out,
        )  # fmt: skip
    dq, dk, dv = out or tuple(_like_heads(x) for x in (q, k, v))
    # a part for each example and head, so that no two threads add to one
    columns = 0 if dbias is None else bias_columns(dbias, mask, q.shape[2], k.shape[2])
    parts = np.zeros((*q.shape[:2], columns), q.dtype)
    shared = _shared(3, q.shape[0] * k.shape[1], q, k, scale, mask, p, key, bias)
    dy, q, k, v, y = (_heads(array) for array in (dy, q, k, v, y))
    _backward(dy, q, k, v, *shared, y, lse, dq, dk, dv, parts)
    if dbias is not None:
        dbias[:, -columns:] += parts.sum(axis=0)[:, ::-1]
    return dq, dk, dv
