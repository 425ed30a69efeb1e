"""Cross-entropy of softmax(logits) against target ids, in nats."""

from typing import Any

import numpy as np

from npgpt.ops.array import Array, Scalar
from npgpt.ops.reference.linear import linear_backward, linear_forward
from npgpt.ops.reference.softmax import log_sum_exp

__all__ = [
    "cross_entropy_backward",
    "cross_entropy_forward",
    "head_cross_entropy_backward",
    "head_cross_entropy_forward",
    "head_log_probs_backward",
    "head_log_probs_forward",
]

IGNORE_INDEX = -100  # the target of a position that does not count, as in PyTorch


def cross_entropy_forward(
    logits: Array, targets: Array, *, ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
) -> tuple[np.floating, Array]:  # fmt: skip
    """Compute the mean of ``log sum_v exp(logits_v) - logits_target`` over counted positions.

    With label smoothing ``e`` (Szegedy et al. 2016, arXiv 1512.00567, section 7) the target's share
    of each position is ``1 - e``, and all ``K`` tokens share ``e`` evenly: ``-sum_v q_v log p_v``
    with ``q = (1 - e) onehot(target) + e / K``.

    Parameters
    ----------
    logits : ndarray, shape (..., vocab_size)
    targets : ndarray of int, shape (...)
        A position whose target is ``ignore_index`` does not count.
    ignore_index : int
    label_smoothing : float
        ``e``, as PyTorch's cross-entropy takes it.

    Returns
    -------
    loss : scalar
        Mean negative log-likelihood in nats; nan when no position counts.
    lse : ndarray, shape (..., 1)
        The logits' log-sum-exp, which backward needs.
    """
    lse = log_sum_exp(logits)
    counted = targets != ignore_index
    index = np.where(counted, targets, 0)[..., None]
    chosen = np.take_along_axis(logits, index, axis=-1)
    if label_smoothing:
        even = logits.mean(axis=-1, keepdims=True)
        chosen = (1.0 - label_smoothing) * chosen + label_smoothing * even
    nats = (lse - chosen)[..., 0] * counted
    count = int(counted.sum())
    return nats.sum() / count if count else logits.dtype.type(np.nan), lse


def cross_entropy_backward(
    dloss: Scalar, logits: Array, targets: Array, lse: Array, *, ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
) -> Array:  # fmt: skip
    """Send ``dloss`` back: ``dlogits = dloss / count * (softmax(logits) - q)``.

    ``q`` is what the probabilities should be, ``(1 - e) onehot(target) + e / K``.

    Parameters
    ----------
    dloss : scalar
    logits : ndarray, shape (..., vocab_size)
    targets : ndarray of int, shape (...)
    lse : ndarray, shape (..., 1)
    ignore_index, label_smoothing
        As in forward.

    Returns
    -------
    ndarray, shape (..., vocab_size)
        Exactly zero at ignored positions.
    """
    counted = (targets != ignore_index)[..., None]
    index = np.where(counted, targets[..., None], 0)
    dlogits = np.exp(logits - lse)  # the probabilities
    target_terms = np.take_along_axis(dlogits, index, axis=-1) - (1.0 - label_smoothing)
    np.put_along_axis(dlogits, index, target_terms, axis=-1)
    dlogits -= label_smoothing / logits.shape[-1]
    return dlogits * (counted * (dloss / max(counted.sum(), 1))).astype(logits.dtype)


def head_cross_entropy_forward(
    x: Array, weight: Array, targets: Array, *, ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0, bias: Array | None = None,
) -> np.floating:  # fmt: skip
    """Compute the cross-entropy of the logits ``x W^T + b``, for when nobody needs the logits.

    Parameters
    ----------
    x : ndarray, shape (..., d_model)
    weight : ndarray, shape (vocab_size, d_model)
    targets : ndarray of int, shape (...)
    ignore_index, label_smoothing
        As for `cross_entropy_forward`.
    bias : ndarray, shape (vocab_size,), optional

    Returns
    -------
    scalar
        The loss, as of `cross_entropy_forward`.
    """
    logits = linear_forward(x, weight, bias)
    loss, _ = cross_entropy_forward(
        logits, targets, ignore_index=ignore_index, label_smoothing=label_smoothing
    )
    return loss


def head_cross_entropy_backward(
    dloss: Scalar, x: Array, weight: Array, targets: Array, *, ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0, bias: Array | None = None, dweight: Array | None = None,
    dbias: Array | None = None, overwrite: bool = False,
) -> tuple[np.floating, Array]:  # fmt: skip
    """Make the logits ``x W^T + b`` again, and send ``dloss`` back through them.

    ``dlogits`` is that of `cross_entropy_backward`; ``dW += dlogits^T x``, ``db += sum of dlogits
    over rows``, ``dx = dlogits W``.

    Parameters
    ----------
    dloss : scalar
    x : ndarray, shape (..., d_model)
    weight : ndarray, shape (vocab_size, d_model)
    targets : ndarray of int, shape (...)
    ignore_index, label_smoothing
        As for `cross_entropy_forward`.
    bias : ndarray, shape (vocab_size,), optional
    dweight, dbias, overwrite
        As for `linear_backward`.

    Returns
    -------
    loss : scalar
        The same as forward's, which a training step therefore need not call.
    dx : ndarray, shape (..., d_model)
    """
    logits = linear_forward(x, weight, bias)
    choices: dict[str, Any] = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    loss, lse = cross_entropy_forward(logits, targets, **choices)
    dlogits = cross_entropy_backward(dloss, logits, targets, lse, **choices)
    return loss, linear_backward(
        dlogits, x, weight, dweight=dweight, dbias=dbias, overwrite=overwrite
    )


def head_log_probs_forward(
    x: Array, weight: Array, targets: Array, *, ignore_index: int = IGNORE_INDEX
) -> Array:
    """Compute the log-probability of each target under the logits ``x W^T``.

    Parameters
    ----------
    x : ndarray, shape (..., d_model)
    weight : ndarray, shape (vocab_size, d_model)
    targets : ndarray of int, shape (...)
    ignore_index : int

    Returns
    -------
    ndarray, shape (...)
        ``logits_target - log sum_v exp(logits_v)``; 0 where the target is ``ignore_index``.
    """
    logits = linear_forward(x, weight)
    counted = targets != ignore_index
    index = np.where(counted, targets, 0)[..., None]
    chosen = np.take_along_axis(logits, index, axis=-1)
    return (chosen - log_sum_exp(logits))[..., 0] * counted


def head_log_probs_backward(
    dlog_p: Array, x: Array, weight: Array, targets: Array, *, ignore_index: int = IGNORE_INDEX,
    dweight: Array | None = None, overwrite: bool = False,
) -> Array:  # fmt: skip
    """Make the logits ``x W^T`` again, and send ``dlog_p`` back through them.

    ``dlogits = dlog_p (onehot(target) - softmax(logits))``; ``dW += dlogits^T x``,
    ``dx = dlogits W``.

    Parameters
    ----------
    dlog_p : ndarray, shape (...)
    x : ndarray, shape (..., d_model)
    weight : ndarray, shape (vocab_size, d_model)
    targets : ndarray of int, shape (...)
    ignore_index : int
    dweight, overwrite
        As for `linear_backward`.

    Returns
    -------
    ndarray, shape (..., d_model)
        The gradient of ``x``; zero where the target is ``ignore_index``.
    """
    logits = linear_forward(x, weight)
    counted = (targets != ignore_index)[..., None]
    index = np.where(counted, targets[..., None], 0)
    dlogits = -np.exp(logits - log_sum_exp(logits))
    target_terms = np.take_along_axis(dlogits, index, axis=-1) + 1.0
    np.put_along_axis(dlogits, index, target_terms, axis=-1)
    dlogits *= counted * dlog_p[..., None]
    return linear_backward(dlogits, x, weight, dweight=dweight, overwrite=overwrite)
