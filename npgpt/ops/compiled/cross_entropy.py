"""Cross-entropy, each row of logits read while it is in cache."""

import math

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array, Scalar
from npgpt.ops.compiled.embedding import flat_ids
from npgpt.ops.compiled.jit import as_rows, compiled_form_of, exp, kernel, parallel_kernel
from npgpt.ops.compiled.linear import add_column_sums, linear_forward, product
from npgpt.ops.reference.cross_entropy import IGNORE_INDEX
from npgpt.ops.workspace import empty, head_chunk_rows

__all__ = [
    "cross_entropy_backward",
    "cross_entropy_forward",
    "head_cross_entropy_backward",
    "head_cross_entropy_forward",
    "head_log_probs_backward",
    "head_log_probs_forward",
]


@kernel()
def _log_sum_exp(scores: Array) -> float:
    largest = scores[0]
    for j in range(1, scores.size):
        largest = max(largest, scores[j])
    total = scores.dtype.type(0.0)
    for j in range(scores.size):
        total += exp(scores[j] - largest)
    return largest + math.log(total)


@kernel()
def _backward_row(scale: float, logits: Array, target: int, lse: float, dlogits: Array) -> None:
    for j in range(logits.size):
        dlogits[j] = scale * exp(logits[j] - lse)
    dlogits[target] -= scale


@kernel()
def _loss_row(logits: Array, target: int) -> tuple[float, float]:
    """The loss of one row of logits; they become their exponentials. Returns it and their sum."""
    largest, chosen = logits[0], logits[target]
    for j in range(1, logits.size):
        largest = max(largest, logits[j])
    total = logits.dtype.type(0.0)
    for j in range(logits.size):
        logits[j] = exp(logits[j] - largest)
        total += logits[j]
    return largest + math.log(total) - chosen, total


@parallel_kernel()
def _replace_by_gradient(
    scales: Array, logits: Array, targets: Array, ignore_index: int, nats: Array
) -> None:
    """Turn rows of logits into the gradients of their losses, scaled; note each row's loss."""
    for i in prange(targets.size):
        row, target = logits[i], targets[i]
        if target == ignore_index:
            nats[i] = 0.0
            for j in range(row.size):
                row[j] = 0.0
        else:
            nats[i], total = _loss_row(row, target)
            over_total = scales[i] / total
            for j in range(row.size):
                row[j] *= over_total
            row[target] -= scales[i]


@parallel_kernel()
def _forward(logits: Array, targets: Array, ignore_index: int, nats: Array, lse: Array) -> None:
    for i in prange(targets.size):
        lse[i] = _log_sum_exp(logits[i])
        nats[i] = 0.0 if targets[i] == ignore_index else lse[i] - logits[i, targets[i]]


@parallel_kernel()
def _backward(
    scale: float, logits: Array, targets: Array, lse: Array, ignore_index: int, dlogits: Array
) -> None:
    for i in prange(targets.size):
        if targets[i] != ignore_index:
            _backward_row(scale, logits[i], targets[i], lse[i], dlogits[i])


# --- label smoothing, in kernels of their own, so that the others stay as fast as they are --------


@kernel()
def _aim(logits: Array, target: int, smoothing: float) -> float:
    """Mean of a row of logits under what the probabilities should be."""
    total = logits.dtype.type(0.0)
    for j in range(logits.size):
        total += logits[j]
    return (1.0 - smoothing) * logits[target] + smoothing * (total / logits.size)


@parallel_kernel()
def _smoothed_forward(
    logits: Array, targets: Array, ignore_index: int, smoothing: float, nats: Array, lse: Array
) -> None:
    for i in prange(targets.size):
        lse[i] = _log_sum_exp(logits[i])
        nats[i] = 0.0
        if targets[i] != ignore_index:
            nats[i] = lse[i] - _aim(logits[i], targets[i], smoothing)


@parallel_kernel()
def _smoothed_backward(
    scale: float, logits: Array, targets: Array, lse: Array, ignore_index: int, smoothing: float,
    dlogits: Array,
) -> None:  # fmt: skip
    for i in prange(targets.size):
        if targets[i] != ignore_index:
            _backward_row(scale, logits[i], targets[i], lse[i], dlogits[i])
            dlogits[i, targets[i]] += scale * smoothing
            even, row = logits.dtype.type(scale * smoothing / logits.shape[1]), dlogits[i]
            for j in range(row.size):
                row[j] -= even


@parallel_kernel()
def _replace_by_smoothed_gradient(
    scales: Array, logits: Array, targets: Array, ignore_index: int, smoothing: float, nats: Array
) -> None:
    for i in prange(targets.size):
        row, target = logits[i], targets[i]
        if target == ignore_index:
            nats[i] = 0.0
            for j in range(row.size):
                row[j] = 0.0
        else:
            chosen = row[target]
            aim = _aim(row, target, smoothing)
            nats[i], total = _loss_row(row, target)
            nats[i] += chosen - aim
            over_total = scales[i] / total
            even = logits.dtype.type(scales[i] * smoothing / row.size)
            for j in range(row.size):
                row[j] = row[j] * over_total - even
            row[target] -= scales[i] * logits.dtype.type(1.0 - smoothing)


def _chunks(rows: int, vocab_size: int) -> list[slice]:
    """Cut rows into chunks, so that not all logits exist at once."""
    chunk = head_chunk_rows(vocab_size)
    return [slice(begin, min(begin + chunk, rows)) for begin in range(0, rows, chunk)]


def _scale(dloss: Scalar, targets: Array, ignore_index: int, dtype: np.dtype) -> np.floating:
    return dtype.type(dloss / max(int(np.count_nonzero(targets != ignore_index)), 1))


def _mean(nats: Array, targets: Array, ignore_index: int, dtype: np.dtype) -> np.floating:
    count = np.count_nonzero(targets != ignore_index)
    return dtype.type(nats.sum() / count if count else np.nan)


@compiled_form_of(reference.head_cross_entropy_forward)
def head_cross_entropy_forward(  # noqa: D103
    x: Array, weight: Array, targets: Array, *, ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0, bias: Array | None = None,
) -> np.floating:  # fmt: skip
    nats = _head_nats(x, weight, targets, ignore_index, label_smoothing, bias)
    return _mean(nats, targets, ignore_index, x.dtype)


def _head_nats(
    x: Array, weight: Array, targets: Array, ignore_index: int, smoothing: float = 0.0,
    bias: Array | None = None,
) -> Array:  # fmt: skip
    """Each row's loss; 0 where it does not count."""
    rows, ids = as_rows(x), flat_ids(targets)
    counted = np.flatnonzero(ids != ignore_index)
    if counted.size < ids.size:  # a prompt's rows: no logits are made of them
        nats = np.zeros(ids.size, np.float64)
        some = rows[counted], weight, ids[counted]
        nats[counted] = _head_nats(*some, ignore_index, smoothing, bias)
        return nats
    nats, lse = np.empty(ids.size, np.float64), np.empty(ids.size, x.dtype)
    for part in _chunks(ids.size, weight.shape[0]):
        logits = linear_forward(rows[part], weight, bias)
        _nats(logits, ids[part], ignore_index, smoothing, nats[part], lse[part])
    return nats


def _nats(
    logits: Array, ids: Array, ignore_index: int, smoothing: float, nats: Array, lse: Array
) -> None:
    if smoothing:
        _smoothed_forward(logits, ids, ignore_index, smoothing, nats, lse)
    else:
        _forward(logits, ids, ignore_index, nats, lse)


@compiled_form_of(reference.head_cross_entropy_backward, decided_by=1)
def head_cross_entropy_backward(  # noqa: D103
    dloss: Scalar, x: Array, weight: Array, targets: Array, *, ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0, bias: Array | None = None, dweight: Array | None = None,
    dbias: Array | None = None, overwrite: bool = False,
) -> tuple[np.floating, Array]:  # fmt: skip
    scales = np.full(targets.size, _scale(dloss, targets, ignore_index, x.dtype))
    nats, dx = _head_backward(
        scales, x, weight, targets, ignore_index, dweight, overwrite, label_smoothing, bias, dbias
    )
    return _mean(nats, targets, ignore_index, x.dtype), dx


def _head_backward(
    scales: Array, x: Array, weight: Array, targets: Array, ignore_index: int,
    dweight: Array | None, overwrite: bool, smoothing: float = 0.0, bias: Array | None = None,
    dbias: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Scale each row's loss, and send it back; returns the losses and dx."""
    rows, ids = as_rows(x), flat_ids(targets)
    counted = np.flatnonzero(ids != ignore_index)
    if 0 < counted.size < ids.size:
        nats, dx = np.zeros(ids.size, np.float64), np.zeros(x.shape, x.dtype)
        nats[counted], as_rows(dx)[counted] = _head_backward(
            scales[counted], rows[counted], weight, ids[counted], ignore_index, dweight, overwrite,
            smoothing, bias, dbias,
        )  # fmt: skip
        return nats, dx
    nats, dx = np.empty(ids.size, np.float64), empty(x.shape, x.dtype)
    for part in _chunks(ids.size, weight.shape[0]):
        logits = linear_forward(rows[part], weight, bias)
        _gradients(scales[part], logits, ids[part], ignore_index, nats[part], smoothing)
        if dweight is not None:
            product(True, logits, False, rows[part], dweight, accumulate=not overwrite)
        if dbias is not None:
            add_column_sums(logits, dbias)
        product(False, logits, False, weight, as_rows(dx)[part])
        overwrite = False
    return nats, dx


def _gradients(
    scales: Array, logits: Array, ids: Array, ignore_index: int, nats: Array, smoothing: float
) -> None:
    if smoothing:
        _replace_by_smoothed_gradient(scales, logits, ids, ignore_index, smoothing, nats)
    else:
        _replace_by_gradient(scales, logits, ids, ignore_index, nats)


@compiled_form_of(reference.head_log_probs_forward)
def head_log_probs_forward(  # noqa: D103
    x: Array, weight: Array, targets: Array, *, ignore_index: int = IGNORE_INDEX
) -> Array:
    return -_head_nats(x, weight, targets, ignore_index).astype(x.dtype).reshape(targets.shape)


@compiled_form_of(reference.head_log_probs_backward, decided_by=1)
def head_log_probs_backward(  # noqa: D103
    dlog_p: Array, x: Array, weight: Array, targets: Array, *, ignore_index: int = IGNORE_INDEX,
    dweight: Array | None = None, overwrite: bool = False,
) -> Array:  # fmt: skip
    scales = -np.ascontiguousarray(dlog_p, x.dtype).reshape(-1)  # losses are minus log p
    return _head_backward(scales, x, weight, targets, ignore_index, dweight, overwrite)[1]


@compiled_form_of(reference.cross_entropy_forward)
def cross_entropy_forward(  # noqa: D103
    logits: Array, targets: Array, *, ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
) -> tuple[np.floating, Array]:  # fmt: skip
    nats = np.empty(targets.size, np.float64)
    lse = np.empty((*targets.shape, 1), logits.dtype)
    rows, ids = as_rows(logits), flat_ids(targets)
    _nats(rows, ids, ignore_index, label_smoothing, nats, lse.reshape(-1))
    return _mean(nats, targets, ignore_index, logits.dtype), lse


@compiled_form_of(reference.cross_entropy_backward, decided_by=1)
def cross_entropy_backward(  # noqa: D103
    dloss: Scalar, logits: Array, targets: Array, lse: Array, *, ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
) -> Array:  # fmt: skip
    dlogits = np.zeros(logits.shape, logits.dtype)  # ignored positions stay 0
    scale = _scale(dloss, targets, ignore_index, logits.dtype)
    given = scale, as_rows(logits), flat_ids(targets), lse.reshape(-1), ignore_index
    if label_smoothing:
        _smoothed_backward(*given, label_smoothing, as_rows(dlogits))
    else:
        _backward(*given, as_rows(dlogits))
    return dlogits
