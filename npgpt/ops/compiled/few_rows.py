"""The affine map of a few rows, as generation has them: bound by reading the weight once.

BLAS packs the weight into tiles before it multiplies, which pays for many rows and not for few.
Here each thread goes through a stretch of the weight from one end to the other; a row of the weight
is multiplied with every row of ``x`` while it is in the registers or the first cache.
"""

import numba
from numba import prange

from npgpt.ops.compiled.jit import kernel, parallel_kernel

MOST_ROWS = 16  # above that the weight's reading is no longer what takes the time


@kernel()
def dot(w, x):
    """One product."""
    total = x.dtype.type(0.0)
    for k in range(x.size):
        total += x.dtype.type(w[k]) * x[k]
    return total


@kernel()
def dot_4(w, x):
    """Products of a row of the weight with four rows of x; each number of the weight once."""
    a, b, c, d = x[0], x[1], x[2], x[3]
    zero = x.dtype.type(0.0)
    total_a, total_b, total_c, total_d = zero, zero, zero, zero
    for k in range(a.size):
        number = x.dtype.type(w[k])
        total_a += number * a[k]
        total_b += number * b[k]
        total_c += number * c[k]
        total_d += number * d[k]
    return total_a, total_b, total_c, total_d


@parallel_kernel()
def _forward(x, weight, bias, y, parts):
    rows, columns = y.shape
    for part in prange(parts):
        for j in range(part * columns // parts, (part + 1) * columns // parts):
            shift = bias[j] if bias.size else x.dtype.type(0.0)
            row = 0
            while row + 4 <= rows:
                a, b, c, d = dot_4(weight[j], x[row : row + 4])
                y[row, j], y[row + 1, j] = a + shift, b + shift
                y[row + 2, j], y[row + 3, j] = c + shift, d + shift
                row += 4
            while row < rows:
                y[row, j] = dot(weight[j], x[row]) + shift
                row += 1


def few_rows_linear(x, weight, bias, y):
    """Compute ``y = x W^T + b`` for (rows, d_in), with an empty bias if there is none."""
    _forward(x, weight, bias, y, numba.get_num_threads())
