"""The affine map: matrix products split among Numba's threads."""

import numba
import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.compiled.blas import BLAS, gemm
from npgpt.ops.compiled.jit import as_rows, compiled_form_of, kernel, parallel_kernel
from npgpt.ops.workspace import empty

GRAIN = 16  # rows or columns: parts begin at multiples of it, to fill BLAS's register tiles
CHUNKS = 16  # partial sums of dbias; fixed, so threads do not change the result


@kernel()
def _bounds(size, part, parts):
    """Where a part of ``range(size)`` begins and ends."""
    grains = (size + GRAIN - 1) // GRAIN
    begin, end = part * grains // parts, (part + 1) * grains // parts
    return begin * GRAIN, min(end * GRAIN, size)


@BLAS.on_one_thread
@parallel_kernel()
def _product(transpose_a, a, transpose_b, b, beta, c, parts):
    """``c = op(a) @ op(b) + beta * c``, in parts along the longer axis of ``c``."""
    rows, columns = c.shape
    for part in prange(parts):
        if rows >= columns:
            i, j = _bounds(rows, part, parts)
            a_part = a[:, i:j] if transpose_a else a[i:j, :]
            if i < j:
                gemm(c.dtype.type(1.0), transpose_a, a_part, transpose_b, b, beta, c[i:j, :])
        else:
            i, j = _bounds(columns, part, parts)
            b_part = b[i:j, :] if transpose_b else b[:, i:j]
            if i < j:
                gemm(c.dtype.type(1.0), transpose_a, a, transpose_b, b_part, beta, c[:, i:j])


@parallel_kernel()
def _add_to_rows(y, bias):
    for i in prange(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] += bias[j]


@parallel_kernel()
def _column_sums(x, parts):
    chunks, rows = parts.shape[0], x.shape[0]
    for chunk in prange(chunks):
        total = parts[chunk]
        for i in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            for j in range(total.size):
                total[j] += x[i, j]


def add_column_sums(x, total):
    """``total += x.sum(axis=0)``."""
    parts = np.zeros((CHUNKS, x.shape[1]), x.dtype)
    _column_sums(x, parts)
    total += parts.sum(axis=0)


def product(transpose_a, a, transpose_b, b, c, accumulate=False):
    """Compute ``c = op(a) @ op(b)``, or add it to ``c``; op transposes where asked for.

    Parameters
    ----------
    a, b, c : ndarray of two axes, C-contiguous
    transpose_a, transpose_b, accumulate : bool
    """
    if BLAS.found:
        beta = c.dtype.type(accumulate)
        _product(transpose_a, a, transpose_b, b, beta, c, numba.get_num_threads())
        return
    a, b = a.T if transpose_a else a, b.T if transpose_b else b
    if accumulate:
        c += a @ b
    else:
        np.matmul(a, b, out=c)


@compiled_form_of(reference.linear_forward)
def linear_forward(x, weight, bias=None):  # noqa: D103
    if weight.dtype != x.dtype:
        return reference.linear_forward(x, weight, bias)
    y = empty((*x.shape[:-1], weight.shape[0]), x.dtype)
    rows = as_rows(y)
    product(False, as_rows(x), True, np.ascontiguousarray(weight), rows)
    if bias is not None:
        _add_to_rows(rows, bias)
    return y


@compiled_form_of(reference.linear_backward)
def linear_backward(dy, x, weight, dweight, dbias=None, overwrite=False):  # noqa: D103
    if not (x.dtype == weight.dtype == dweight.dtype and dweight.flags.c_contiguous):
        return reference.linear_backward(dy, x, weight, dweight, dbias, overwrite)
    dy_rows = as_rows(dy)
    product(True, dy_rows, False, as_rows(x), dweight, accumulate=not overwrite)
    if dbias is not None:
        add_column_sums(dy_rows, dbias)
    dx = empty(x.shape, x.dtype)
    product(False, dy_rows, False, np.ascontiguousarray(weight), as_rows(dx))
    return dx
