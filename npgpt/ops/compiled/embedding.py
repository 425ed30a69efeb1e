"""The lookup, and the scatter of its gradients."""

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.jit import as_rows, compiled_form_of, parallel_kernel
from npgpt.ops.workspace import empty

__all__ = ["embedding_backward", "embedding_forward"]

BLOCK_COLUMNS = 64  # of one task: tasks scatter to columns of their own, so none waits for another


@parallel_kernel()
def _sum_of_lookups(token_ids: Array, weight: Array, rows: Array, y: Array) -> None:
    time = rows.shape[0]
    for i in prange(token_ids.size):
        looked_up, row = weight[token_ids[i]], rows[i % time]
        for j in range(y.shape[1]):
            y[i, j] = looked_up[j] + row[j]


@parallel_kernel()
def _scatter(dy: Array, token_ids: Array, width: int, dweight: Array) -> None:
    columns = dy.shape[1]
    for block in prange((columns + width - 1) // width):
        begin = block * width
        end = min(begin + width, columns)
        for i in range(token_ids.size):
            row = dweight[token_ids[i]]
            for j in range(begin, end):
                row[j] += dy[i, j]


def flat_ids(token_ids: Array) -> Array:
    """Ids as one contiguous axis, always of int64: one type, one kernel."""
    return np.ascontiguousarray(token_ids, np.int64).reshape(-1)


@compiled_form_of(reference.embedding_forward, decided_by=1)
def embedding_forward(  # noqa: D103
    token_ids: Array, weight: Array, rows: Array | None = None
) -> Array:
    if rows is None or rows.dtype != weight.dtype:
        return reference.embedding_forward(token_ids, weight, rows)
    y = empty((*token_ids.shape, weight.shape[1]), weight.dtype)
    _sum_of_lookups(flat_ids(token_ids), weight, rows, as_rows(y))
    return y


@compiled_form_of(reference.embedding_backward)
def embedding_backward(dy: Array, token_ids: Array, *, dweight: Array) -> None:  # noqa: D103
    _scatter(as_rows(dy), flat_ids(token_ids), BLOCK_COLUMNS, dweight)
