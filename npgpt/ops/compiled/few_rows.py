"""The affine map of a few rows, as generation has them: bound by reading the weight once.

BLAS packs the weight into tiles before it multiplies, which pays for many rows and not for few.
Here each thread goes through a stretch of the weight from one end to the other; a row of the weight
is multiplied with every row of ``x`` while it is in the registers or the first cache.
"""

from collections.abc import Callable

import numba
import numpy as np
from numba import prange, types
from numba.extending import overload

from npgpt.ops.array import Array
from npgpt.ops.compiled.jit import TypeOrValue, kernel, parallel_kernel

Four = tuple[float, float, float, float]

MOST_ROWS = 16  # above that the weight's reading is no longer what takes the time


def number_of(w: float, like: Array) -> float:
    """Return a number of the weight as float, inside a kernel: bfloat16's bits are shifted."""
    raise RuntimeError("npgpt.ops.compiled.few_rows.number_of works inside kernels only.")


@overload(number_of, inline="always")
def _overload_number_of(w: TypeOrValue, like: TypeOrValue) -> Callable[..., TypeOrValue]:
    shift = np.uint32(16)

    def of_bfloat16(w: TypeOrValue, like: TypeOrValue) -> TypeOrValue:
        return np.uint32(np.uint32(w) << shift).view(np.float32)

    def of_int8(w: TypeOrValue, like: TypeOrValue) -> TypeOrValue:
        return np.float32(np.int32(w))

    def itself(w: TypeOrValue, like: TypeOrValue) -> TypeOrValue:
        return w

    if w == types.uint16:
        return of_bfloat16
    return of_int8 if w == types.int8 else itself


@kernel()
def dot(w: Array, x: Array) -> float:
    """One product."""
    total = x.dtype.type(0.0)
    for k in range(x.size):
        total += number_of(w[k], x) * x[k]
    return total


@kernel()
def dot_2x4(w: Array, v: Array, x: Array) -> tuple[Four, Four]:
    """Products of two rows of the weight with four rows of x: six loads for eight products."""
    a, b, c, d = x[0], x[1], x[2], x[3]
    zero = x.dtype.type(0.0)
    wa, wb, wc, wd, va, vb, vc, vd = zero, zero, zero, zero, zero, zero, zero, zero
    for k in range(a.size):
        first, second = number_of(w[k], x), number_of(v[k], x)
        wa += first * a[k]
        wb += first * b[k]
        wc += first * c[k]
        wd += first * d[k]
        va += second * a[k]
        vb += second * b[k]
        vc += second * c[k]
        vd += second * d[k]
    return (wa, wb, wc, wd), (va, vb, vc, vd)


@kernel()
def _single_columns(
    x: Array, weight: Array, begin: int, end: int, first_row: int, y: Array
) -> None:
    for j in range(begin, end):
        for row in range(first_row, x.shape[0]):
            y[row, j] = dot(weight[j], x[row])


@parallel_kernel()
def _forward(x: Array, weight: Array, scales: Array, bias: Array, y: Array, parts: int) -> None:
    rows, columns = y.shape
    fours, halves = rows // 4 * 4, columns // 2
    for part in prange(parts):
        # parts begin at even columns, so that the pairs are the same for any number of threads
        begin, end = part * halves // parts * 2, (part + 1) * halves // parts * 2
        if part == parts - 1:
            end = columns
        pairs = (end - begin) // 2 * 2 if fours else 0
        for j in range(begin, begin + pairs, 2):
            for row in range(0, fours, 4):
                left, right = dot_2x4(weight[j], weight[j + 1], x[row : row + 4])
                for i in range(4):
                    y[row + i, j], y[row + i, j + 1] = left[i], right[i]
            _single_columns(x, weight, j, j + 2, fours, y)
        _single_columns(x, weight, begin + pairs, end, 0, y)
        for row in range(rows):
            if scales.size:
                for j in range(begin, end):
                    y[row, j] *= scales[j]
            if bias.size:
                for j in range(begin, end):
                    y[row, j] += bias[j]


def few_rows_linear(x: Array, weight: Array, bias: Array, y: Array, scales: Array) -> None:
    """Compute ``y = scales * (x W^T) + b``; scales and bias are empty if there are none."""
    _forward(x, weight, scales, bias, y, numba.get_num_threads())
