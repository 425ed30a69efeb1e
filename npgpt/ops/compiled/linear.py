"""The affine map: matrix products split among Numba's threads."""

import numba
import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.blas import BLAS, gemm
from npgpt.ops.compiled.few_rows import MOST_ROWS, few_rows_linear
from npgpt.ops.compiled.jit import (
    as_rows,
    compiled_form_of,
    kernel,
    parallel_kernel,
    partial_sums,
)
from npgpt.ops.workspace import empty

__all__ = ["linear_backward", "linear_forward"]

GRAIN = 16  # rows or columns: parts begin at multiples of it, to fill BLAS's register tiles

NOTHING = {np.dtype(dtype): np.empty(0, dtype) for dtype in (np.float32, np.float64)}

# With the literals, and with the loop's own index, Numba would compile `_product_part` eight times.
NO, YES, index = np.bool_(False), np.bool_(True), np.int64


@kernel()
def _bounds(size: int, part: int, parts: int) -> tuple[int, int]:
    """Where a part of ``range(size)`` begins and ends."""
    grains = (size + GRAIN - 1) // GRAIN
    begin, end = part * grains // parts, (part + 1) * grains // parts
    return begin * GRAIN, min(end * GRAIN, size)


@kernel()
def _product_part(
    part: int, parts: int, transpose_a: bool, a: Array, transpose_b: bool, b: Array, beta: float,
    c: Array,
) -> None:  # fmt: skip
    """One part of ``c = op(a) @ op(b) + beta * c``, cut along the longer axis of ``c``."""
    rows, columns = c.shape
    one = c.dtype.type(1.0)
    if rows >= columns:
        i, j = _bounds(rows, part, parts)
        if i < j:
            a_part = a[:, i:j] if transpose_a else a[i:j, :]
            gemm(one, transpose_a, a_part, transpose_b, b, beta, c[i:j, :])
    else:
        i, j = _bounds(columns, part, parts)
        if i < j:
            b_part = b[i:j, :] if transpose_b else b[:, i:j]
            gemm(one, transpose_a, a, transpose_b, b_part, beta, c[:, i:j])


@BLAS.on_one_thread
@parallel_kernel()
def _product(
    transpose_a: bool, a: Array, transpose_b: bool, b: Array, beta: float, c: Array, parts: int
) -> None:
    for part in prange(parts):
        _product_part(index(part), parts, transpose_a, a, transpose_b, b, beta, c)


@BLAS.on_one_thread
@parallel_kernel()
def _backward(
    dy: Array, x: Array, weight: Array, beta: float, dweight: Array, dx: Array, parts: int
) -> None:
    # both products in one go: a thread that is done with the first does not wait for the others
    for part in prange(parts):
        _product_part(index(part), parts, YES, dy, NO, x, beta, dweight)
        _product_part(index(part), parts, NO, dy, NO, weight, dx.dtype.type(0.0), dx)


@parallel_kernel()
def add_to_rows(y: Array, bias: Array) -> None:
    for i in prange(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] += bias[j]


@parallel_kernel()
def _column_sums(x: Array, parts: Array) -> None:
    chunks, rows = parts.shape[0], x.shape[0]
    for chunk in prange(chunks):
        total = parts[chunk]
        for i in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            for j in range(total.size):
                total[j] += x[i, j]


def add_column_sums(x: Array, total: Array) -> None:
    """``total += x.sum(axis=0)``."""
    parts = partial_sums(x.shape[1], x.dtype)
    _column_sums(x, parts)
    total += parts.sum(axis=0)


def product(
    transpose_a: bool, a: Array, transpose_b: bool, b: Array, c: Array, accumulate: bool = False,
    parts: int | None = None,
) -> None:  # fmt: skip
    """Compute ``c = op(a) @ op(b)``, or add it to ``c``; op transposes where asked for.

    Parameters
    ----------
    a, b, c : ndarray of two axes
        Of one dtype and C-contiguous they go to BLAS, any others to NumPy.
    transpose_a, transpose_b, accumulate : bool
    parts : int, optional
        In how many it is cut; by default as many as there are threads.
    """
    one_dtype = a.dtype == b.dtype == c.dtype
    if BLAS.found and one_dtype and all(array.flags.c_contiguous for array in (a, b, c)):
        beta = c.dtype.type(accumulate)
        _product(transpose_a, a, transpose_b, b, beta, c, parts or numba.get_num_threads())
        return
    a, b = a.T if transpose_a else a, b.T if transpose_b else b
    if accumulate:
        c += a @ b
    else:
        np.matmul(a, b, out=c)


@compiled_form_of(reference.linear_forward)
def linear_forward(x: Array, weight: Array, bias: Array | None = None) -> Array:  # noqa: D103
    if not (BLAS.found and weight.dtype == x.dtype):
        return reference.linear_forward(x, weight, bias)
    y = empty((*x.shape[:-1], weight.shape[0]), x.dtype)
    rows = as_rows(y)
    if len(rows) <= MOST_ROWS:
        nothing = NOTHING[x.dtype]
        shift = nothing if bias is None else bias
        few_rows_linear(as_rows(x), as_rows(weight), shift, rows, nothing)
        return y
    product(False, as_rows(x), True, as_rows(weight), rows)
    if bias is not None:
        add_to_rows(rows, bias)
    return y


@compiled_form_of(reference.linear_backward)
def linear_backward(  # noqa: D103
    dy: Array, x: Array, weight: Array, *, dweight: Array | None = None,
    dbias: Array | None = None, overwrite: bool = False,
) -> Array:  # fmt: skip
    dweight_fits = dweight is None or (dweight.dtype == x.dtype and dweight.flags.c_contiguous)
    if not (BLAS.found and dy.dtype == x.dtype == weight.dtype and dweight_fits):
        return reference.linear_backward(
            dy, x, weight, dweight=dweight, dbias=dbias, overwrite=overwrite
        )
    dy_rows, dx = as_rows(dy), empty(x.shape, x.dtype)
    if dweight is None:
        product(False, dy_rows, False, as_rows(weight), as_rows(dx))
    else:
        beta, parts = x.dtype.type(not overwrite), numba.get_num_threads()
        _backward(dy_rows, as_rows(x), as_rows(weight), beta, dweight, as_rows(dx), parts)
    if dbias is not None:
        add_column_sums(dy_rows, dbias)
    return dx
