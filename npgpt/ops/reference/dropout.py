"""Inverted dropout with a counter-based mask (Srivastava et al. 2014, JMLR 15).

The mask is a pure function of (seed, stream, step, row, column): backward draws it again instead
of storing it, both backends draw the same one, and no number of threads changes it. The generator
is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC 2011).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from npgpt.ops.array import Array

__all__ = [
    "DropoutKey",
    "dropout_add_forward",
    "dropout_backward",
    "dropout_forward",
    "dropout_mask",
]

PHILOX_M0, PHILOX_M1 = 0xD2511F53, 0xCD9E8D57  # multipliers
PHILOX_W0, PHILOX_W1 = 0x9E3779B9, 0xBB67AE85  # key increments: golden ratio, sqrt(3) - 1
PHILOX_ROUNDS = 10


class DropoutKey(NamedTuple):
    """What names one mask: the model's seed, the layer's stream, the training step."""

    seed: int  # 64 bits
    stream: int  # 32 bits, one per dropout layer of a model
    step: int  # 32 bits, one per training forward pass


def needed(key: DropoutKey | None, p: float) -> DropoutKey:
    """Return the key of a mask that is drawn with a probability above 0.

    Parameters
    ----------
    key : DropoutKey, optional
    p : float
        The probability.

    Raises
    ------
    ValueError
        If there is none.
    """
    if key is None:
        raise ValueError(
            f"dropout: a mask with p = {p} needs a DropoutKey, got None; pass its key."
        )
    return key


def philox(counter: Sequence[Array | int], key: Sequence[int]) -> list[Array]:
    """Encrypt a 128-bit counter under a 64-bit key with ten rounds of Philox4x32.

    Parameters
    ----------
    counter : sequence of 4 ndarrays of uint64, each holding 32-bit words, broadcast together
    key : sequence of 2 int, 32 bits each

    Returns
    -------
    list of 4 ndarrays of uint64
        Four independent, uniform 32-bit words for each counter.
    """
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = key
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(PHILOX_ROUNDS):
        product0 = np.uint64(PHILOX_M0) * c0  # 32 x 32 -> 64 bits
        product1 = np.uint64(PHILOX_M1) * c2
        c0, c1, c2, c3 = (
            (product1 >> half) ^ c1 ^ np.uint64(k0),
            product1 & low,
            (product0 >> half) ^ c3 ^ np.uint64(k1),
            product0 & low,
        )
        k0, k1 = (k0 + PHILOX_W0) & 0xFFFFFFFF, (k1 + PHILOX_W1) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


def drop_threshold(p: float) -> int:
    """The number of 32-bit words, counted from 0, that mean "drop": ``round(p * 2^32)``."""
    return min(round(p * 2.0**32), 2**32)


def dropout_mask(shape: tuple[int, ...], p: float, key: DropoutKey, dtype: DTypeLike) -> Array:
    """Draw the mask: 0 with probability ``p``, else ``1 / (1 - p)``.

    An array of shape (..., columns) counts as rows of columns. Columns ``4j .. 4j+3`` of row ``i``
    are the four words of the counter ``(j, i, step, stream)`` under the key ``seed``.

    Parameters
    ----------
    shape : tuple of int
        At least one axis; at most 2^32 rows.
    p : float
        Probability of dropping, in [0, 1].
    key : DropoutKey
    dtype : dtype
        Of the mask.

    Returns
    -------
    ndarray, shape ``shape``
    """
    if p >= 1.0:
        return np.zeros(shape, dtype)
    columns = shape[-1]
    rows = int(np.prod(shape[:-1]))
    blocks = -(-columns // 4)
    counter = (np.arange(blocks)[None, :], np.arange(rows)[:, None], key.step, key.stream)
    words = philox(counter, (key.seed & 0xFFFFFFFF, (key.seed >> 32) & 0xFFFFFFFF))
    uniform = np.stack(words, axis=-1).reshape(rows, 4 * blocks)[:, :columns]
    keep = uniform >= np.uint64(drop_threshold(p))
    return (keep * (1.0 / (1.0 - p))).astype(dtype).reshape(shape)


def dropout_forward(x: Array, p: float, key: DropoutKey) -> Array:
    """Zero each element with probability ``p`` and scale the rest: ``y = mask * x``.

    The scale ``1 / (1 - p)`` keeps the expectation, ``E[y] = x``, so evaluation needs no scaling.

    Parameters
    ----------
    x : ndarray, shape (..., columns)
    p : float
    key : DropoutKey

    Returns
    -------
    ndarray, same shape
    """
    return x * dropout_mask(x.shape, p, key, x.real.dtype)


def dropout_backward(dy: Array, p: float, key: DropoutKey) -> Array:
    """Send ``dy`` back through the same mask: ``dx = mask * dy``.

    Parameters
    ----------
    dy : ndarray, shape (..., columns)
    p : float
    key : DropoutKey
        The forward pass's.

    Returns
    -------
    ndarray, same shape
    """
    return dy * dropout_mask(dy.shape, p, key, dy.real.dtype)


def dropout_add_forward(x: Array, branch: Array, p: float, key: DropoutKey | None) -> Array:
    """Compute ``y = x + dropout(branch)``: a residual connection.

    The gradient of ``x`` is ``dy``, that of ``branch`` is `dropout_backward` of ``dy``.

    Parameters
    ----------
    x, branch : ndarray, shape (..., columns)
    p : float
        With 0 nothing is dropped.
    key : DropoutKey or None
        Needed when ``p > 0``.

    Returns
    -------
    ndarray, same shape
    """
    return x + (dropout_forward(branch, p, needed(key, p)) if p > 0.0 else branch)
