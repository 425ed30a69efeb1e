"""The lookup, and the scatter of its gradients."""

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.compiled.jit import as_rows, compiled_form_of, parallel_kernel
from npgpt.ops.workspace import empty

BLOCK_COLUMNS = 64  # of one task: tasks scatter to columns of their own, so none waits for another


@parallel_kernel()
def _sum_of_lookups(token_ids, weight, positions, y):
    time = positions.shape[0]
    for i in prange(token_ids.size):
        row, position = weight[token_ids[i]], positions[i % time]
        for j in range(y.shape[1]):
            y[i, j] = row[j] + position[j]


@parallel_kernel()
def _scatter(dy, token_ids, dweight):
    columns = dy.shape[1]
    for block in prange((columns + BLOCK_COLUMNS - 1) // BLOCK_COLUMNS):
        begin = block * BLOCK_COLUMNS
        end = min(begin + BLOCK_COLUMNS, columns)
        for i in range(token_ids.size):
            row = dweight[token_ids[i]]
            for j in range(begin, end):
                row[j] += dy[i, j]


def flat_ids(token_ids):
    """Ids as one contiguous axis, always of int64: one type, one kernel."""
    return np.ascontiguousarray(token_ids, np.int64).reshape(-1)


@compiled_form_of(reference.embedding_forward, decided_by=1)
def embedding_forward(token_ids, weight, positions=None):  # noqa: D103
    if positions is None or positions.dtype != weight.dtype:
        return reference.embedding_forward(token_ids, weight, positions)
    y = empty((*token_ids.shape, weight.shape[1]), weight.dtype)
    _sum_of_lookups(flat_ids(token_ids), weight, positions, as_rows(y))
    return y


@compiled_form_of(reference.embedding_backward)
def embedding_backward(dy, token_ids, dweight):  # noqa: D103
    _scatter(as_rows(dy), flat_ids(token_ids), dweight)
