"""What the compiled recurrent operations share: products, lengths, and arrays of all steps."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from npgpt.ops.array import Array
from npgpt.ops.compiled.jit import REAL, as_rows
from npgpt.ops.compiled.linear import add_column_sums, add_to_rows, product
from npgpt.ops.reference.recurrence import after, are_there, before, begin
from npgpt.ops.workspace import empty

# Parts of a product do not depend on the number of threads where that would change its rounding.
MOST_PARTS, PART_COLUMNS = 8, 64  # of a step's: at most so many, at least so wide
PART_WORK = 1 << 21  # multiplications, of a product of all steps: twice OpenBLAS's small ones


def fits(tap: Any, x: Array, *others: Array) -> bool:
    """Tell whether kernels can do it: nobody listens to the steps, and all is of one dtype."""
    return tap is None and x.dtype in REAL and all(other.dtype == x.dtype for other in others)


def number_of_positions(lengths: Array | None, time: int, batch: int) -> Array:
    """Return the lengths as kernels take them."""
    if lengths is None:
        return np.full(batch, time, np.int64)
    return np.ascontiguousarray(lengths, np.int64)


def of_inputs(x: Array, weight_ih: Array, *biases: Array | None) -> Array:
    """Compute what the steps need of the inputs, for all of them in one product."""
    a = empty((*x.shape[:-1], len(weight_ih)), x.dtype)
    whole_product(False, x, True, weight_ih, a)
    shifts = [bias for bias in biases if bias is not None]
    if shifts:
        add_to_rows(as_rows(a), np.ascontiguousarray(sum(shifts[1:], shifts[0])))
    return a


def step_product(transpose_b: bool, a: Array, weight: Array, c: Array, accumulate: bool) -> None:
    """Multiply the rows of one step with a weight: many small products, cut in a fixed way."""
    parts = max(1, min(MOST_PARTS, c.shape[1] // PART_COLUMNS))
    product(False, a, transpose_b, weight, c, accumulate, parts)


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


def weight_gradients(
    da: Array, db: Array, x: Array, h: Array, reverse: bool, weight_ih: Array,
    dweight_ih: Array | None, dweight_hh: Array | None, dbias_ih: Array | None,
    dbias_hh: Array | None,
) -> Array:  # fmt: skip
    """Add the gradients of all weights, one product each; return that of ``x``.

    ``da`` is the gradient of what comes from the inputs, ``db`` of what comes from the states.
    """
    for gradient, read, dweight, dbias in (
        (da, x, dweight_ih, dbias_ih),
        (db, before(h, reverse), dweight_hh, dbias_hh),
    ):
        if dweight is not None:
            whole_product(True, gradient, False, read, dweight, accumulate=True)
        if dbias is not None:
            add_column_sums(as_rows(gradient), dbias)
    dx = empty(x.shape, x.dtype)
    whole_product(False, da, False, weight_ih, dx)
    return dx
