"""Cross-entropy, each row of logits read while it is in cache."""

import math

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.compiled.jit import as_rows, compiled_form_of, exp, kernel, parallel_kernel


@kernel()
def _log_sum_exp(scores):
    largest = scores[0]
    for j in range(1, scores.size):
        largest = max(largest, scores[j])
    total = scores.dtype.type(0.0)
    for j in range(scores.size):
        total += exp(scores[j] - largest)
    return largest + math.log(total)


@kernel()
def _backward_row(scale, logits, target, lse, dlogits):
    for j in range(logits.size):
        dlogits[j] = scale * exp(logits[j] - lse)
    dlogits[target] -= scale


@parallel_kernel()
def _forward(logits, targets, ignore_index, nats, lse):
    for i in prange(targets.size):
        lse[i] = _log_sum_exp(logits[i])
        nats[i] = 0.0 if targets[i] == ignore_index else lse[i] - logits[i, targets[i]]


@parallel_kernel()
def _backward(scale, logits, targets, lse, ignore_index, dlogits):
    for i in prange(targets.size):
        if targets[i] != ignore_index:
            _backward_row(scale, logits[i], targets[i], lse[i], dlogits[i])


@compiled_form_of(reference.cross_entropy_forward)
def cross_entropy_forward(logits, targets, ignore_index=-100):  # noqa: D103
    nats = np.empty(targets.size, np.float64)
    lse = np.empty((*targets.shape, 1), logits.dtype)
    _forward(as_rows(logits), targets.reshape(-1), ignore_index, nats, lse.reshape(-1))
    count = np.count_nonzero(targets != ignore_index)
    return logits.dtype.type(nats.sum() / count if count else np.nan), lse


@compiled_form_of(reference.cross_entropy_backward, decided_by=1)
def cross_entropy_backward(dloss, logits, targets, lse, ignore_index=-100):  # noqa: D103
    dlogits = np.zeros(logits.shape, logits.dtype)  # ignored positions stay 0
    scale = logits.dtype.type(dloss / max(np.count_nonzero(targets != ignore_index), 1))
    _backward(
        scale,
        as_rows(logits),
        targets.reshape(-1),
        lse.reshape(-1),
        ignore_index,
        as_rows(dlogits),
    )
    return dlogits
