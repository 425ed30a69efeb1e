"""What the compiled recurrent operations share: products, lengths, and arrays of all steps.

Sequences do not know of each other, so the rows of the batch are cut in as many blocks as there are
threads, and a thread takes its block through all steps: nobody waits for anybody, and what a step
made is in the cache when the next one reads it. The weights are packed once a pass (`tiles`).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import prange

from npgpt.ops.array import Array
from npgpt.ops.compiled.few_rows import MOST_ROWS, few_rows_linear
from npgpt.ops.compiled.jit import REAL, as_rows, kernel, parallel_kernel
from npgpt.ops.compiled.linear import NOTHING, add_column_sums, add_to_rows, product
from npgpt.ops.compiled.tiles import add_product, pack, padded
from npgpt.ops.reference.recurrence import after, are_there, before, begin, of_last
from npgpt.ops.workspace import empty

FEWEST_ROWS = 2  # of a step, for which the weights are packed
PRODUCT_ROWS = 64  # multiplied by a panel while it is in the first caches
PART_WORK = 1 << 21  # multiplications, of a product of all steps: twice OpenBLAS's small ones


def fits(tap: Any, x: Array, *others: Array) -> bool:
    """Tell whether kernels can do it: nobody listens to the steps, and all is of one dtype."""
    return tap is None and x.dtype in REAL and all(other.dtype == x.dtype for other in others)


def number_of_positions(lengths: Array | None, time: int, batch: int) -> Array:
    """Return the lengths as kernels take them."""
    if lengths is None:
        return np.full(batch, time, np.int64)
    return np.ascontiguousarray(lengths, np.int64)


def number_of_blocks(batch: int) -> int:
    """Say in how many blocks the rows are cut; the bits do not depend on it."""
    return max(1, min(numba.get_num_threads(), batch))


def sums_of_rows(batch: int, columns: int, dtype: np.dtype) -> Array:
    """Make room for the products of one step, which come in whole panels."""
    return empty((batch, padded(columns, dtype)), dtype)


def bias_of(weight: Array, *biases: Array | None) -> Array:
    """Add up the biases that there are, for the sums of one row to begin with."""
    total = np.zeros(padded(len(weight), weight.dtype), weight.dtype)
    for bias in biases:
        if bias is not None:
            total[: len(weight)] += bias
    return total


def are_few(x: Array) -> bool:
    """Tell whether steps have so few rows, or all steps together, that packing does not pay."""
    time, batch = x.shape[:2]
    return batch < FEWEST_ROWS or time * batch <= MOST_ROWS


def of_inputs(x: Array, weight: Array, bias: Array) -> Array:
    """Compute what the steps need of the inputs, for all of them in one product."""
    if x.shape[0] * x.shape[1] <= MOST_ROWS:
        return few_sums(as_rows(x), weight, bias).reshape(*x.shape[:-1], len(weight))
    a = empty((*x.shape[:-1], len(weight)), x.dtype)
    whole_product(False, x, True, weight, a)
    add_to_rows(as_rows(a), bias)
    return a


def few_sums(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Compute the sums of a few rows, without packing."""
    nothing, a = NOTHING[x.dtype], empty((len(x), len(weight)), x.dtype)
    shift = nothing if bias is None else bias[: len(weight)]
    few_rows_linear(as_rows(x), as_rows(weight), shift, a, nothing)
    return a


@kernel()
def at_step(step: int, time: int, reverse: bool) -> tuple[int, int, int]:
    """Say what `steps` does of one step: its position, the states before it and after it."""
    if reverse:
        t = time - 1 - step
        return t, t + 1, t
    return step, step, step + 1


@kernel()
def copy_row(source: Array, target: Array) -> None:
    """``target[:] = source[: target.size]``, which takes Numba seconds to compile."""
    for j in range(target.size):
        target[j] = source[j]


@kernel()
def set_product(a: Array, packed: Array, bias: Array, c: Array) -> None:
    """``c = bias + a @ b``, b packed."""
    for row in range(c.shape[0]):
        copy_row(bias, c[row])
    add_product(a, packed, c)


def whole_product(
    transpose_a: bool, a: Array, transpose_b: bool, b: Array, c: Array, accumulate: bool = False
) -> None:
    """Multiply the rows of all steps.

    In float32 it is cut in as many parts as there are threads, but none so small that BLAS would
    take its routine for small products, which sums in another order; in float64, where the edges
    of parts are summed in another order too, always in two.
    """
    a, b, c = as_rows(a), as_rows(b), as_rows(c)
    work = c.size * (a.shape[0] if transpose_a else a.shape[1])
    threads = numba.get_num_threads() if c.dtype == np.float32 else 2
    parts = max(1, min(threads, work // PART_WORK))
    product(transpose_a, a, transpose_b, b, c, accumulate, parts)


def last_state(gradient: Array | None, states: Array) -> Array:
    """Return what `of_last` does, with room for whole panels behind it."""
    batch, d_hidden = states.shape[1:]
    made = sums_of_rows(batch, d_hidden, states.dtype)
    made[:, :d_hidden], made[:, d_hidden:] = of_last(gradient, states), 0
    return made


def states(state: Array, time: int, reverse: bool) -> Array:
    """Make room for the states of all steps, of which the first is there."""
    return begin(state, time, reverse, empty)


def outputs(h: Array, lengths: Array | None, reverse: bool) -> Array:
    """Return the state after each position, 0 where a sequence has ended."""
    made = after(h, reverse)
    if lengths is None:
        return made
    y = empty(made.shape, made.dtype)
    y.fill(0)
    np.copyto(y, made, where=are_there(lengths, *made.shape[:2]))
    return y


@parallel_kernel()
def _fill_products(a: Array, packed: Array, c: Array, height: int) -> None:
    for block in prange((len(a) + height - 1) // height):
        begin, end = block * height, min((block + 1) * height, len(a))
        c[begin:end] = 0
        add_product(a[begin:end], packed, c[begin:end])


def input_gradient(da: Array, weight_ih: Array) -> Array:
    """Return the gradient of the inputs, ``da @ W_ih``."""
    d_in = weight_ih.shape[1]
    dx = sums_of_rows(da.shape[0] * da.shape[1], d_in, da.dtype)
    _fill_products(as_rows(da), pack(weight_ih, False), dx, PRODUCT_ROWS)
    return as_rows(dx[:, :d_in]).reshape(*da.shape[:-1], d_in)


def weight_gradients(
    da: Array, db: Array, x: Array, h: Array, reverse: bool,
    dweight_ih: Array | None, dweight_hh: Array | None, dbias_ih: Array | None,
    dbias_hh: Array | None,
) -> None:  # fmt: skip
    """Add the gradients of all weights, one product each.

    ``da`` is the gradient of what comes from the inputs, ``db`` of what comes from the states.
    """
    for gradient, read, dweight in ((da, x, dweight_ih), (db, before(h, reverse), dweight_hh)):
        if dweight is not None:
            whole_product(True, gradient, False, read, dweight, accumulate=True)
    if da is db and dbias_ih is not None and dbias_hh is not None:
        total = np.zeros_like(dbias_ih)
        add_column_sums(as_rows(da), total)
        dbias_ih += total
        dbias_hh += total
        return
    for gradient, dbias in ((da, dbias_ih), (db, dbias_hh)):
        if dbias is not None:
            add_column_sums(as_rows(gradient), dbias)
