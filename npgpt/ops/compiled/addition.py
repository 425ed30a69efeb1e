"""The sum of two arrays, on all threads."""

from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.jit import as_rows, compiled_form_of, parallel_kernel
from npgpt.ops.workspace import empty

__all__ = ["add"]


@parallel_kernel()
def _add(x: Array, y: Array, total: Array) -> None:
    for i in prange(x.shape[0]):
        left, right, row = x[i], y[i], total[i]
        for j in range(row.size):
            row[j] = left[j] + right[j]


@compiled_form_of(reference.add)
def add(x: Array, y: Array) -> Array:  # noqa: D103
    total = empty(x.shape, x.dtype)
    _add(as_rows(x), as_rows(y), as_rows(total))
    return total
