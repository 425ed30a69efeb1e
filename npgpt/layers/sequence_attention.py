"""Attention from the states of a decoder to those of an encoder, before the Transformer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from npgpt import ops
from npgpt.fields import check_whole, short_repr
from npgpt.layers.core.init import Rng, Unfilled, normal
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter
from npgpt.layers.linear import Linear
from npgpt.ops import Mask
from npgpt.ops.array import Array


class Attended(NamedTuple):
    """What a `SequenceAttention` keeps: what it read, and what it made of it."""

    x: Array
    memory: Array
    queries: Array
    keys: Array
    weights: Array
    lengths: Array | None

    def __repr__(self) -> str:
        return short_repr(self)


class SequenceAttention(Layer):
    """Base of layers that look back at a memory from each position of a sequence.

    ``context_t = sum_s weights_ts memory_s``, where ``weights_t = softmax_s(score(x_t, memory_s))``
    over the positions of the memory that are there. A subclass has the score.

    Attributes
    ----------
    d_query, d_memory : int
        Widths of ``x`` and of the memory.

    Notes
    -----
    Taps: ``scores``, ``weights``, each (batch, time, keys), and ``context``. A sequence whose
    memory is empty has weights and context 0.
    """

    IN_STEPS = True
    TAPS = ("scores", "weights", "context")

    def __init__(self, d_query: int, d_memory: int):
        super().__init__()
        check_whole(type(self).__name__, 1, d_query=d_query, d_memory=d_memory)
        self.d_query, self.d_memory = d_query, d_memory

    def forward(
        self,
        x: Array,
        memory: Array,
        lengths: Array | Sequence[int] | None = None,
        keys: Array | None = None,
    ) -> Array:
        """Map (batch, time, d_query) to contexts, (batch, time, d_memory).

        Parameters
        ----------
        x : ndarray, shape (batch, time, d_query)
            What looks back, such as a decoder's hidden states.
        memory : ndarray, shape (batch, keys, d_memory)
            What it looks at, such as an encoder's.
        lengths : array of int, shape (batch,), optional
            How many positions of each memory are there; the others are padding. By default all.
        keys : ndarray, optional
            What `keys_of` made of the memory, if it was asked before; no backward follows.

        Raises
        ------
        ValueError
            If a shape does not fit, or a length is not between 0 and the memory's.
        """
        there = self._checked(x, memory, lengths)
        queries = self.queries_of(x)
        keys = self.keys_of(memory) if keys is None else keys
        scores = self.tap("scores", self._scores(queries, keys, there))
        weights = self.tap("weights", ops.softmax_forward(scores))
        self.keep(Attended(x, memory, queries, keys, weights, there))
        context = ops.weighted_sum_forward(weights[:, None], memory[:, None])[:, 0]
        return self.tap("context", context)

    def backward(self, dy: Array) -> tuple[Array, Array]:
        """Add to the gradients of all weights; return those of ``x`` and of the memory.

        Parameters
        ----------
        dy : ndarray, shape (batch, time, d_memory)
        """
        x, memory, queries, keys, weights, there = self.recall()
        self._check_dy(dy, (*x.shape[:2], self.d_memory))
        dy = self.tap_grad("context", dy)
        parts = dy[:, None], weights[:, None], memory[:, None]
        dweights, dmemory = (d[:, 0] for d in ops.weighted_sum_backward(*parts))
        dweights = self.tap_grad("weights", dweights)
        dscores = self.tap_grad("scores", ops.softmax_backward(dweights, weights))
        dqueries, dkeys = self._scores_backward(dscores, queries, keys, there)
        dmemory = ops.add(dmemory, self._keys_backward(dkeys, memory))
        return self._queries_backward(dqueries, x), dmemory

    # --- what a score is made of: each side by itself, then each pair -----------------------------

    def queries_of(self, x: Array) -> Array:
        """Compute what scores read of ``x``; here ``x`` itself.

        Parameters
        ----------
        x : ndarray, shape (batch, time, d_query)
        """
        return x

    def keys_of(self, memory: Array) -> Array:
        """Compute what scores read of a memory, once for all that look at it; here it itself.

        Parameters
        ----------
        memory : ndarray, shape (batch, keys, d_memory)
        """
        return memory

    def _queries_backward(self, dqueries: Array, x: Array) -> Array:
        return dqueries

    def _keys_backward(self, dkeys: Array, memory: Array) -> Array:
        return dkeys

    def _scores(self, queries: Array, keys: Array, lengths: Array | None) -> Array:
        """Score each query with each key, ``-inf`` where there is none; here by their product."""
        mask = Mask(False, lengths=lengths)
        return ops.scores_forward(queries[:, None], keys[:, None], scale=1.0, mask=mask)[:, 0]

    def _scores_backward(
        self, dscores: Array, queries: Array, keys: Array, lengths: Array | None
    ) -> tuple[Array, Array]:
        parts = dscores[:, None], queries[:, None], keys[:, None]
        dqueries, dkeys = ops.scores_backward(*parts, scale=1.0)
        return dqueries[:, 0], dkeys[:, 0]

    # --- what does not fit ------------------------------------------------------------------------

    def _checked(
        self, x: Array, memory: Array, lengths: Array | Sequence[int] | None
    ) -> Array | None:
        self._check_array(x)
        self._check_array(memory, "the memory")
        if x.ndim != 3 or x.shape[-1] != self.d_query:
            raise ValueError(
                f"{self._where()}: expected an input of shape (batch, time, {self.d_query}), "
                f"got {x.shape}."
            )
        if memory.shape != (len(x), *memory.shape[1:2], self.d_memory):
            raise ValueError(
                f"{self._where()}: expected a memory of shape ({len(x)}, keys, {self.d_memory}), "
                f"got {memory.shape}."
            )
        return self._checked_lengths(lengths, *memory.shape[:2])


class DotAttention(SequenceAttention):
    """``score(x_t, memory_s) = x_t . memory_s`` (Luong et al. 2015, arXiv 1508.04025, eq. 8, dot).

    Nothing is learned here: queries and memory have one width, and must come to agree.

    Parameters
    ----------
    d_model : int
        Width of both.

    Notes
    -----
    Taps: ``scores``, ``weights``, each (batch, time, keys), and ``context``.
    """

    def __init__(self, d_model: int):
        check_whole("DotAttention", 1, d_model=d_model)
        super().__init__(d_model, d_model)
        self.d_model = d_model


class GeneralAttention(SequenceAttention):
    """``score(x_t, memory_s) = x_t^T W memory_s`` (Luong et al. 2015, eq. 8, general).

    Parameters
    ----------
    d_query, d_memory : int
        Widths of what looks back, and of the memory.
    rng, dtype
        As for `Linear`.

    Attributes
    ----------
    key : Linear
        ``W``, without a bias. It reads the memory, so that one product serves all positions.

    Notes
    -----
    Taps: ``scores``, ``weights``, each (batch, time, keys), and ``context``.
    """

    def __init__(self, d_query: int, d_memory: int, rng: Rng = None, dtype: Any = np.float32):
        super().__init__(d_query, d_memory)
        self.key = Linear(d_memory, d_query, False, 1.0 / math.sqrt(d_memory), rng, dtype)

    def keys_of(self, memory: Array) -> Array:
        """Compute ``W memory_s``.

        Parameters
        ----------
        memory : ndarray, shape (batch, keys, d_memory)
        """
        return self.key.forward(memory)

    def _keys_backward(self, dkeys: Array, memory: Array) -> Array:
        return self.key.backward(dkeys)


class AdditiveAttention(SequenceAttention):
    """``score(x_t, memory_s) = v . tanh(W x_t + U memory_s)`` (Bahdanau, Cho and Bengio 2015).

    (arXiv 1409.0473, section A.1.2; without biases, as there.) A network with one hidden layer
    judges each pair, so the two may have any widths.

    Parameters
    ----------
    d_query, d_memory : int
        Widths of what looks back, and of the memory.
    d_attention : int
        Hidden units.
    rng, dtype
        As for `Linear`.

    Attributes
    ----------
    query, key : Linear
        ``W`` and ``U``; ``U memory_s`` does not depend on t, so it is computed once.
    v : Parameter, shape (d_attention,)

    Notes
    -----
    Taps: ``scores``, ``weights``, each (batch, time, keys), and ``context``.
    """

    def __init__(
        self,
        d_query: int,
        d_memory: int,
        d_attention: int,
        rng: Rng = None,
        dtype: Any = np.float32,
    ):
        super().__init__(d_query, d_memory)
        check_whole(type(self).__name__, 1, d_attention=d_attention)
        self.d_attention = d_attention
        source = rng if isinstance(rng, Unfilled) else np.random.default_rng(rng)
        self._make_maps(source, dtype)
        self.v = Parameter(normal(source, (d_attention,), 1.0 / math.sqrt(d_attention), dtype))

    def _make_maps(self, rng: np.random.Generator | Unfilled, dtype: Any) -> None:
        query_std, key_std = (1.0 / math.sqrt(d) for d in (self.d_query, self.d_memory))
        self.query = Linear(self.d_query, self.d_attention, False, query_std, rng, dtype)
        self.key = Linear(self.d_memory, self.d_attention, False, key_std, rng, dtype)

    def queries_of(self, x: Array) -> Array:
        """Compute ``W x_t``.

        Parameters
        ----------
        x : ndarray, shape (batch, time, d_query)
        """
        return self.query.forward(x)

    def keys_of(self, memory: Array) -> Array:
        """Compute ``U memory_s``.

        Parameters
        ----------
        memory : ndarray, shape (batch, keys, d_memory)
        """
        return self.key.forward(memory)

    def _queries_backward(self, dqueries: Array, x: Array) -> Array:
        return self.query.backward(dqueries)

    def _keys_backward(self, dkeys: Array, memory: Array) -> Array:
        return self.key.backward(dkeys)

    def _scores(self, queries: Array, keys: Array, lengths: Array | None) -> Array:
        return ops.additive_scores_forward(queries, keys, self.v.value, lengths=lengths)

    def _scores_backward(
        self, dscores: Array, queries: Array, keys: Array, lengths: Array | None
    ) -> tuple[Array, Array]:
        return ops.additive_scores_backward(
            dscores, queries, keys, self.v.value, lengths=lengths, dv=self.v.grad
        )


class ConcatAttention(AdditiveAttention):
    """``score(x_t, memory_s) = v . tanh(W_x x_t + W_m memory_s)`` (Luong et al. 2015, concat).

    The score of `AdditiveAttention`, its two matrices side by side in one, which maps ``x_t`` and
    ``memory_s`` written one after the other.

    Parameters
    ----------
    d_query, d_memory, d_attention, rng, dtype
        As for `AdditiveAttention`.

    Attributes
    ----------
    weight : Parameter, shape (d_attention, d_query + d_memory)
        ``W``.
    v : Parameter, shape (d_attention,)

    Notes
    -----
    Taps: ``scores``, ``weights``, each (batch, time, keys), and ``context``.
    """

    def _make_maps(self, rng: np.random.Generator | Unfilled, dtype: Any) -> None:
        columns = self.d_query + self.d_memory
        std = 1.0 / math.sqrt(columns)
        self.weight = Parameter(normal(rng, (self.d_attention, columns), std, dtype))

    def queries_of(self, x: Array) -> Array:
        """Compute ``W_x x_t``.

        Parameters
        ----------
        x : ndarray, shape (batch, time, d_query)
        """
        return self._map(x, slice(self.d_query))

    def keys_of(self, memory: Array) -> Array:
        """Compute ``W_memory memory_s``.

        Parameters
        ----------
        memory : ndarray, shape (batch, keys, d_memory)
        """
        return self._map(memory, slice(self.d_query, None))

    def _queries_backward(self, dqueries: Array, x: Array) -> Array:
        return self._map_backward(dqueries, x, slice(self.d_query))

    def _keys_backward(self, dkeys: Array, memory: Array) -> Array:
        return self._map_backward(dkeys, memory, slice(self.d_query, None))

    def _map(self, x: Array, columns: slice) -> Array:
        return ops.linear_forward(x, np.ascontiguousarray(self.weight.value[:, columns]))

    def _map_backward(self, dy: Array, x: Array, columns: slice) -> Array:
        weight = np.ascontiguousarray(self.weight.value[:, columns])
        if self.weight.grad is None:
            return ops.linear_backward(dy, x, weight)
        dweight = np.zeros_like(weight)
        dx = ops.linear_backward(dy, x, weight, dweight=dweight)
        self.weight.grad[:, columns] += dweight
        return dx
