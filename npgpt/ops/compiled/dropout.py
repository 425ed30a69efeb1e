"""The reference's dropout mask, drawn inside the loop that uses it."""

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.compiled.jit import as_rows, compiled_form_of, kernel, parallel_kernel
from npgpt.ops.reference.dropout import (
    PHILOX_M0,
    PHILOX_M1,
    PHILOX_ROUNDS,
    PHILOX_W0,
    PHILOX_W1,
    drop_threshold,
)
from npgpt.ops.workspace import empty

# As typed constants: Numba would turn a mixture of uint64 and int64 into float64.
M0, M1 = np.uint64(PHILOX_M0), np.uint64(PHILOX_M1)
W0, W1 = np.uint64(PHILOX_W0), np.uint64(PHILOX_W1)
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@kernel()
def fill_mask_row(mask, low, columns, row, threshold, scale, key):
    """Write ``columns`` columns from ``low`` of one row of `dropout_mask`; rounds up to a block of 4.

    ``low`` is a multiple of 4, ``mask`` must have room for the rounded number, and ``key`` is what
    `key_words` returned.
    """  # noqa: E501
    for block in range((columns + 3) // 4):
        c0, c1 = np.uint64(low // 4 + block), np.uint64(row)
        c2, c3 = key[2], key[3]
        k0, k1 = key[0], key[1]
        for _ in range(PHILOX_ROUNDS):
            product0 = M0 * c0
            product1 = M1 * c2
            c0, c1, c2, c3 = (
                (product1 >> HALF) ^ c1 ^ k0,
                product1 & LOW,
                (product0 >> HALF) ^ c3 ^ k1,
                product0 & LOW,
            )
            k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
        dropped = mask.dtype.type(0.0)
        mask[4 * block] = scale if c0 >= threshold else dropped
        mask[4 * block + 1] = scale if c1 >= threshold else dropped
        mask[4 * block + 2] = scale if c2 >= threshold else dropped
        mask[4 * block + 3] = scale if c3 >= threshold else dropped


def key_words(key):
    """Split a DropoutKey in the four 32-bit words that kernels take."""
    seed = int(key.seed)
    words = (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF, key.step, key.stream)
    return tuple(np.uint64(word) for word in words)


def mask_numbers(p, dtype):
    """The threshold and the scale of a mask, typed for a kernel."""
    scale = 1.0 / (1.0 - p) if p < 1.0 else 0.0
    return np.uint64(drop_threshold(p)), dtype.type(scale)


def mask_arguments(p, key, dtype):
    """What a kernel that may drop takes: (whether it does, threshold, scale, key)."""
    words = key_words(key if p > 0.0 else reference.DropoutKey(0, 0, 0))
    return (p > 0.0, *mask_numbers(p, dtype), words)


@kernel()
def _multiply_row(x, row, threshold, scale, key, y):
    mask = np.empty(x.size + 3, x.dtype)
    fill_mask_row(mask, 0, x.size, row, threshold, scale, key)
    for j in range(x.size):
        y[j] = mask[j] * x[j]


@parallel_kernel()
def _multiply_by_mask(x, threshold, scale, key, y):
    for i in prange(x.shape[0]):
        _multiply_row(x[i], np.int64(i), threshold, scale, key, y[i])


@compiled_form_of(reference.dropout_forward)
def dropout_forward(x, p, key):  # noqa: D103
    y = empty(x.shape, x.dtype)
    threshold, scale = mask_numbers(p, x.dtype)
    _multiply_by_mask(as_rows(x), threshold, scale, key_words(key), as_rows(y))
    return y


@compiled_form_of(reference.dropout_backward)
def dropout_backward(dy, p, key):  # noqa: D103
    return dropout_forward(dy, p, key)  # dx = mask * dy: the same multiplication


@kernel()
def _add_row(x, branch, row, dropping, threshold, scale, key, y):
    if dropping:
        mask = np.empty(x.size + 3, x.dtype)
        fill_mask_row(mask, 0, x.size, row, threshold, scale, key)
        for j in range(x.size):
            y[j] = x[j] + mask[j] * branch[j]
    else:
        for j in range(x.size):
            y[j] = x[j] + branch[j]


@parallel_kernel()
def _add(x, branch, dropping, threshold, scale, key, y):
    for i in prange(x.shape[0]):
        _add_row(x[i], branch[i], np.int64(i), dropping, threshold, scale, key, y[i])


@compiled_form_of(reference.dropout_add_forward)
def dropout_add_forward(x, branch, p, key):  # noqa: D103
    y = empty(x.shape, x.dtype)
    _add(as_rows(x), as_rows(branch), *mask_arguments(p, key, x.dtype), as_rows(y))
    return y


def dropout_mask(shape, p, key, dtype):  # noqa: D103
    return dropout_forward(np.ones(shape, dtype), p, key)


dropout_mask.__doc__ = reference.dropout_mask.__doc__
