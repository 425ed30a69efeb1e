"""The scatter of embedding gradients; the lookup itself is already one NumPy call."""

import numpy as np

from npgpt.ops import reference
from npgpt.ops.compiled.jit import as_rows, compiled_form_of, kernel


@kernel()
def _scatter(dy, token_ids, dweight):
    for i in range(token_ids.size):
        row = dweight[token_ids[i]]
        for j in range(dy.shape[1]):
            row[j] += dy[i, j]


@compiled_form_of(reference.embedding_backward)
def embedding_backward(dy, token_ids, dweight):  # noqa: D103
    _scatter(as_rows(dy), np.ascontiguousarray(token_ids).reshape(-1), dweight)
