"""The reference's dropout mask, drawn inside the loop that uses it."""

import numpy as np
from numba import prange
from numpy.typing import DTypeLike

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.addition import add
from npgpt.ops.compiled.jit import as_rows, compiled_form_of, kernel, parallel_kernel
from npgpt.ops.reference.dropout import (
    PHILOX_M0,
    PHILOX_M1,
    PHILOX_ROUNDS,
    PHILOX_W0,
    PHILOX_W1,
    DropoutKey,
    drop_threshold,
    needed,
)
from npgpt.ops.workspace import empty

__all__ = ["dropout_add_forward", "dropout_backward", "dropout_forward", "dropout_mask"]

# As typed constants: Numba would turn a mixture of uint64 and int64 into float64.
M0, M1 = np.uint64(PHILOX_M0), np.uint64(PHILOX_M1)
W0, W1 = np.uint64(PHILOX_W0), np.uint64(PHILOX_W1)
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)

KeyWords = tuple[np.uint64, np.uint64, np.uint64, np.uint64]  # of a DropoutKey, as kernels take it


@kernel()
def fill_mask_row(
    mask: Array, low: int, columns: int, row: int, threshold: np.uint64, scale: float, key: KeyWords
) -> None:
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


def key_words(key: DropoutKey) -> KeyWords:
    """Split a DropoutKey in the four 32-bit words that kernels take."""
    seed = int(key.seed)
    low, high = np.uint64(seed & 0xFFFFFFFF), np.uint64((seed >> 32) & 0xFFFFFFFF)
    return low, high, np.uint64(key.step), np.uint64(key.stream)


def mask_numbers(p: float, dtype: np.dtype) -> tuple[np.uint64, float]:
    """The threshold and the scale of a mask, typed for a kernel."""
    scale = 1.0 / (1.0 - p) if p < 1.0 else 0.0
    return np.uint64(drop_threshold(p)), dtype.type(scale)


@kernel()
def _multiply_row(
    x: Array, row: int, threshold: np.uint64, scale: float, key: KeyWords, y: Array
) -> None:
    mask = np.empty(x.size + 3, x.dtype)
    fill_mask_row(mask, 0, x.size, row, threshold, scale, key)
    for j in range(x.size):
        y[j] = mask[j] * x[j]


@parallel_kernel()
def _multiply_by_mask(
    x: Array, threshold: np.uint64, scale: float, key: KeyWords, y: Array
) -> None:
    for i in prange(x.shape[0]):
        _multiply_row(x[i], np.int64(i), threshold, scale, key, y[i])


@compiled_form_of(reference.dropout_forward)
def dropout_forward(x: Array, p: float, key: DropoutKey) -> Array:  # noqa: D103
    y = empty(x.shape, x.dtype)
    threshold, scale = mask_numbers(p, x.dtype)
    _multiply_by_mask(as_rows(x), threshold, scale, key_words(key), as_rows(y))
    return y


@compiled_form_of(reference.dropout_backward)
def dropout_backward(dy: Array, p: float, key: DropoutKey) -> Array:  # noqa: D103
    return dropout_forward(dy, p, key)  # dx = mask * dy: the same multiplication


@kernel()
def _add_row(
    x: Array, branch: Array, row: int, threshold: np.uint64, scale: float, key: KeyWords, y: Array
) -> None:
    mask = np.empty(x.size + 3, x.dtype)
    fill_mask_row(mask, 0, x.size, row, threshold, scale, key)
    for j in range(x.size):
        y[j] = x[j] + mask[j] * branch[j]


@parallel_kernel()
def _add_masked(
    x: Array, branch: Array, threshold: np.uint64, scale: float, key: KeyWords, y: Array
) -> None:
    for i in prange(x.shape[0]):
        _add_row(x[i], branch[i], np.int64(i), threshold, scale, key, y[i])


@compiled_form_of(reference.dropout_add_forward)
def dropout_add_forward(  # noqa: D103
    x: Array, branch: Array, p: float, key: DropoutKey | None
) -> Array:
    if p == 0.0:
        return add(x, branch)
    y = empty(x.shape, x.dtype)
    threshold, scale = mask_numbers(p, x.dtype)
    words = key_words(needed(key, p))
    _add_masked(as_rows(x), as_rows(branch), threshold, scale, words, as_rows(y))
    return y


def dropout_mask(  # noqa: D103
    shape: tuple[int, ...], p: float, key: DropoutKey, dtype: DTypeLike
) -> Array:
    return dropout_forward(np.ones(shape, dtype), p, key)


dropout_mask.__doc__ = reference.dropout_mask.__doc__
