"""Single heads of attention, from the bare idea to the causal head that models stack."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from npgpt.layers.core.layer import Layer
from npgpt.layers.dropout import Dropout
from npgpt.layers.linear import Linear
from npgpt.ops import reference
from npgpt.ops.array import Array

NORMALISATIONS = ("softmax", "sum")
MASKINGS = ("scores", "weights", "leaking")


class Simplified(NamedTuple):
    """What `SimplifiedSelfAttention` keeps."""

    x: Array
    weights: Array
    total: Array | None  # each row's, where "sum" divides by it
    used: Array  # the weights, or what a listener put in their place


class Normalised(NamedTuple):
    """How the weights of a head came from its scores."""

    softmax: Array
    weights: Array | None = None  # the softmax, masked and divided by each row's sum
    total: Array | None = None  # which is this


class OneHead(NamedTuple):
    """What `SelfAttention` keeps."""

    q: Array
    k: Array
    v: Array
    used: Array  # the weights, or what a listener put in their place
    normalised: Normalised


class SimplifiedSelfAttention(Layer):
    """Self-attention without anything learned: ``y = normalise(x x^T) x``.

    Each position's context is a weighted mean of all positions, weighted by dot products.

    Parameters
    ----------
    normalise : {"softmax", "sum"}
        ``"sum"`` divides scores by their sum, which shows why softmax is used: weights become
        negative with the scores, and grow without bound where a row's sum comes near 0.

    Notes
    -----
    Taps: ``scores`` and ``weights``, (batch, time, time), ``context``, (batch, time, d_model).

    Backward has three terms, because ``x`` is query, key and value at once.
    """

    TAPS = ("scores", "weights", "context")

    def __init__(self, normalise: str = "softmax"):
        super().__init__()
        if normalise not in NORMALISATIONS:
            raise ValueError(
                f"SimplifiedSelfAttention: normalise must be one of {', '.join(NORMALISATIONS)}, "
                f"got {normalise!r}."
            )
        self.normalise = normalise

    def forward(self, x: Array) -> Array:
        """Map (batch, time, d_model) to the same shape; every position sees all others."""
        _check_sequence(self, x, None)
        scores = self.tap("scores", x @ x.swapaxes(-1, -2))
        total = None
        if self.normalise == "sum":
            weights, total = reference.sum_normalise_forward(scores)
        else:
            weights = reference.softmax_forward(scores)
        used = self.tap("weights", weights)
        self.keep(Simplified(x, weights, total, used))
        return self.tap("context", used @ x)

    def backward(self, dy: Array) -> Array:
        """Return the gradient of ``x``, (batch, time, d_model)."""
        x, weights, total, used = self.recall()
        self._check_dy(dy, x.shape)
        dy = self.tap_grad("context", dy)
        dweights = self.tap_grad("weights", dy @ x.swapaxes(-1, -2))
        if self.normalise == "sum":
            dscores = reference.sum_normalise_backward(dweights, weights, total)
        else:
            dscores = reference.softmax_backward(dweights, weights)
        dscores = self.tap_grad("scores", dscores)
        dvalues = used.swapaxes(-1, -2) @ dy  # term 1: x as the values
        dqueries = dscores @ x  # term 2: x as the queries
        dkeys = dscores.swapaxes(-1, -2) @ x  # term 3: x as the keys
        return dvalues + dqueries + dkeys


class SelfAttention(Layer):
    """One head that sees all positions: ``y = softmax(q k^T / sqrt(d_out)) v``.

    ``q = x W_q^T``, ``k = x W_k^T``, ``v = x W_v^T`` (Vaswani et al. 2017, eq. 1).

    Parameters
    ----------
    d_in, d_out : int
    qkv_bias : bool
    scale_scores : bool
        Whether scores are divided by ``sqrt(d_out)``. Without it their variance is d_out times that
        of ``q`` and ``k``'s products of features, the softmax saturates, and its gradient vanishes.
    rng, dtype
        As for `Linear`.

    Notes
    -----
    Taps: ``q``, ``k``, ``v``, ``scores``, ``weights``, ``context``.
    """

    TAPS: tuple[str, ...] = ("q", "k", "v", "scores", "weights", "context")

    def __init__(
        self,
        d_in: int,
        d_out: int,
        qkv_bias: bool = False,
        scale_scores: bool = True,
        rng: np.random.Generator | int | None = None,
        dtype: Any = np.float32,
    ):
        super().__init__()
        rng = np.random.default_rng(rng)
        self.d_in, self.d_out = d_in, d_out
        self.scale = 1.0 / math.sqrt(d_out) if scale_scores else 1.0
        self.query = Linear(d_in, d_out, qkv_bias, rng=rng, dtype=dtype)
        self.key = Linear(d_in, d_out, qkv_bias, rng=rng, dtype=dtype)
        self.value = Linear(d_in, d_out, qkv_bias, rng=rng, dtype=dtype)

    def forward(self, x: Array) -> Array:
        """Map (batch, time, d_in) to (batch, time, d_out)."""
        _check_sequence(self, x, self.d_in)
        q = self.tap("q", self.query.forward(x))
        k = self.tap("k", self.key.forward(x))
        v = self.tap("v", self.value.forward(x))
        scores = self.tap("scores", self.scale * (q @ k.swapaxes(-1, -2)))
        weights, normalised = self._weights(scores)
        used = self.tap("weights", weights)
        self.keep(OneHead(q, k, v, used, normalised))
        return self.tap("context", used @ v)

    def backward(self, dy: Array) -> Array:
        """Add to the gradients of the three maps; return that of ``x``, (batch, time, d_in)."""
        q, k, v, used, normalised = self.recall()
        self._check_dy(dy, v.shape)
        dy = self.tap_grad("context", dy)
        dweights = self.tap_grad("weights", dy @ v.swapaxes(-1, -2))
        dv = self.tap_grad("v", used.swapaxes(-1, -2) @ dy)
        dscores = self.tap_grad("scores", self._weights_backward(dweights, normalised))
        dk = self.tap_grad("k", self.scale * (dscores.swapaxes(-1, -2) @ q))
        dq = self.tap_grad("q", self.scale * (dscores @ k))
        return self.value.backward(dv) + self.key.backward(dk) + self.query.backward(dq)

    def _weights(self, scores: Array) -> tuple[Array, Normalised]:
        """From scores to weights, and what backward needs for that."""
        softmax = reference.softmax_forward(scores)
        return softmax, Normalised(softmax)

    def _weights_backward(self, dweights: Array, normalised: Normalised) -> Array:
        return reference.softmax_backward(dweights, normalised.softmax)


class CausalSelfAttention(SelfAttention):
    """One head in which position t sees positions 0 to t, with dropout on the weights.

    Parameters
    ----------
    d_in, d_out : int
    dropout : float
    masking : {"scores", "weights", "leaking"}
        ``"scores"`` puts ``-inf`` on the scores of the future, before the softmax; ``"weights"``
        lets the softmax see the future, sets those weights to 0 and divides each row by its sum.
        Both give the same outputs and gradients. ``"leaking"`` forgets to divide: rows do not sum
        to 1, and because the softmax's denominator holds the scores of the future, so does the
        output.
    qkv_bias, scale_scores, rng, dtype
        As for `SelfAttention`.
    seed, stream : int
        Of the dropout masks.

    Raises
    ------
    ValueError
        If there is no such masking.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        dropout: float = 0.0,
        masking: str = "scores",
        qkv_bias: bool = False,
        scale_scores: bool = True,
        seed: int = 0,
        stream: int = 0,
        rng: np.random.Generator | int | None = None,
        dtype: Any = np.float32,
    ):
        super().__init__(d_in, d_out, qkv_bias, scale_scores, rng, dtype)
        if masking not in MASKINGS:
            raise ValueError(
                f"CausalSelfAttention: masking must be one of {', '.join(MASKINGS)}, "
                f"got {masking!r}."
            )
        self.masking = masking
        self.dropout = Dropout(dropout, seed, stream)

    def _weights(self, scores: Array) -> tuple[Array, Normalised]:
        if self.masking == "scores":
            softmax = reference.softmax_forward(reference.mask_future_forward(scores, -np.inf))
            return self.dropout.forward(softmax), Normalised(softmax)
        softmax = reference.softmax_forward(scores)
        masked = reference.mask_future_forward(softmax, 0.0)
        if self.masking == "leaking":
            return self.dropout.forward(masked), Normalised(softmax)
        weights, total = reference.sum_normalise_forward(masked)
        return self.dropout.forward(weights), Normalised(softmax, weights, total)

    def _weights_backward(self, dweights: Array, normalised: Normalised) -> Array:
        dweights = self.dropout.backward(dweights)
        softmax, weights, total = normalised
        if self.masking == "scores":
            return reference.softmax_backward(dweights, softmax)  # masked weights are 0
        if weights is not None and total is not None:
            dweights = reference.sum_normalise_backward(dweights, weights, total)
        return reference.softmax_backward(reference.mask_future_backward(dweights), softmax)


def _check_sequence(layer: Layer, x: Array, d_in: int | None) -> None:
    layer._check_array(x)
    if x.ndim != 3 or d_in not in (None, x.shape[-1]):
        raise ValueError(
            f"{layer._where()}: expected an input of shape (batch, time, {d_in or 'd_model'}), "
            f"got {x.shape}."
        )
