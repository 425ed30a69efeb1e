"""Positions: rows that are added to embeddings, turned queries and keys, biases by distance."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from npgpt import ops
from npgpt.fields import check_real, check_whole
from npgpt.layers.block_config import BlockConfig
from npgpt.layers.core.init import INITIAL_STD, Init, Unfilled, normal
from npgpt.layers.core.layer import Layer, does_as
from npgpt.layers.core.parameter import Parameter

Array = np.ndarray


class Rows(NamedTuple):
    """What positions keep: the shape of their input, and where it begins."""

    shape: tuple[int, ...]
    offset: int


class PositionEmbedding(Layer):
    """A learned row for each position, the same for every example of the batch.

    Parameters
    ----------
    context_length, d_model : int
    std, rng, dtype
        As for `Embedding`.

    Attributes
    ----------
    weight : Parameter, shape (context_length, d_model)
    """

    IN_STEPS = True

    def __init__(
        self,
        context_length: int,
        d_model: int,
        std: float = 0.02,
        rng: np.random.Generator | Unfilled | int | None = None,
        dtype: Any = np.float32,
    ):
        super().__init__()
        check_whole("PositionEmbedding", context_length=context_length, d_model=d_model)
        check_real("PositionEmbedding", std=std)
        self.context_length, self.d_model = context_length, d_model
        self.weight = Parameter(normal(rng, (context_length, d_model), std, dtype))

    def forward(self, x: Array, offset: int = 0) -> Array:
        """Add the rows of positions ``offset ..`` to ``x``, (batch, time, d_model).

        Raises
        ------
        ValueError
            If the sequence is longer than ``context_length``.
        """
        self._check_last_axis(x, self.d_model, "d_model")
        return x + self.rows_for(x.shape, x.dtype, offset)

    def rows_for(self, shape: tuple[int, ...], dtype: Any = None, offset: int = 0) -> Array:
        """Return the rows that belong to ``x`` of a shape (batch, time, d_model), to be added.

        For when the sum is made elsewhere; `backward` is the same. The rows have the weight's
        dtype, whatever ``dtype`` is: the argument is that of positions that are not learned.
        """
        last = offset + shape[-2]
        if last > self.context_length:
            raise ValueError(
                f"{self._where()}: a sequence of {last} tokens is longer than the context of "
                f"{self.context_length}."
            )
        self.keep(Rows(shape, offset))
        return self.weight.value[offset:last]

    def backward(self, dy: Array) -> Array:
        """Add to the rows' gradient, summed over the batch; return the gradient of ``x``."""
        shape, offset = self.recall()
        self._check_dy(dy, shape)
        dweight = self.weight.grad
        if dweight is not None:
            dweight[offset : offset + shape[-2]] += dy.reshape(-1, *shape[-2:]).sum(axis=0)
        return dy


class SinusoidalEmbedding(Layer):
    """Sines and cosines of the position at geometrically spaced wavelengths.

    ``y[t, 2i] = x[t, 2i] + scale sin(t / 10000^(2i/d_model))``, and the cosine at ``2i + 1``
    (Vaswani et al. 2017, section 3.5). Nothing is learned, and any length has its rows.

    Parameters
    ----------
    d_model : int
    scale : float
        Of the rows. The paper multiplies token embeddings by ``sqrt(d_model)`` instead, so that
        both parts of the sum are of one size.
    """

    IN_STEPS = True

    def __init__(self, d_model: int, scale: float = 1.0):
        super().__init__()
        check_whole("SinusoidalEmbedding", d_model=d_model)
        check_real("SinusoidalEmbedding", scale=scale)
        self.d_model, self.scale = d_model, scale

    def forward(self, x: Array, offset: int = 0) -> Array:
        """Add the rows of positions ``offset ..`` to ``x``, (batch, time, d_model)."""
        self._check_last_axis(x, self.d_model, "d_model")
        return x + self.rows_for(x.shape, x.dtype, offset)

    def rows_for(self, shape: tuple[int, ...], dtype: Any, offset: int = 0) -> Array:
        """Return the rows that belong to ``x`` of a shape (batch, time, d_model), to be added."""
        self.keep(shape)
        last = offset + shape[-2]
        rows = _table(1 << (last - 1).bit_length(), self.d_model, self.scale, np.dtype(dtype))
        return rows[offset:last]

    def backward(self, dy: Array) -> Array:
        """Return ``dy``, the gradient of ``x``."""
        self._check_dy(dy, self.recall())
        return dy


@functools.lru_cache(maxsize=4)
def _table(length: int, d_model: int, scale: float, dtype: np.dtype) -> Array:
    return (scale * ops.sinusoids(np.arange(length), d_model)).astype(dtype)


class RotaryEmbedding(Layer):
    """RoPE: turn each pair of features of queries and keys by an angle that grows with position.

    At position ``m`` features ``i`` and ``i + head_size / 2`` turn by ``m theta^(-2i/head_size)``
    (Su et al. 2021, arXiv 2104.09864). Scores then depend on the distance of query and key, and
    nothing is learned, so a model runs past the length that it was trained at.

    Parameters
    ----------
    head_size : int
        Even.
    theta : float
        The longest wavelength is about ``2 pi theta`` positions.

    Raises
    ------
    ValueError
        If the head size is odd, or theta is not positive.

    Notes
    -----
    Backward turns the gradient by the opposite angle.
    """

    IN_STEPS = True

    def __init__(self, head_size: int, theta: float = 10000.0):
        super().__init__()
        check_whole("RotaryEmbedding", head_size=head_size)
        check_real("RotaryEmbedding", theta=theta)
        if head_size < 2 or head_size % 2:
            raise ValueError(
                f"RotaryEmbedding: features are turned in pairs, so the head size must be even, "
                f"got {head_size}."
            )
        if not theta > 0.0:
            raise ValueError(f"RotaryEmbedding: theta must be positive, got {theta}.")
        self.head_size, self.theta = head_size, theta

    def forward(self, x: Array, offset: int = 0, out: Array | None = None) -> Array:
        """Turn (batch, heads, time, head_size), whose first position is ``offset``.

        ``out``, where the result goes, may be ``x`` itself.
        """
        self._check_last_axis(x, self.head_size, "head_size")
        self.keep(Rows(x.shape, offset))
        return ops.rotary_forward(x, *self._angles(x, offset), out=out)

    def forward_at(self, x: Array, positions: Array) -> Array:
        """Turn one position of each sequence, (batch, heads, 1, head_size); no backward follows.

        ``positions`` are integers of shape (batch,).
        """
        self._check_last_axis(x, self.head_size, "head_size")
        last = int(positions.max()) + 1
        tables = _tables(1 << (last - 1).bit_length(), self.head_size, self.theta, x.real.dtype)
        # the sequences take the place of time: each has a position of its own
        turned = ops.rotary_forward(x.swapaxes(0, 2), *(table[positions] for table in tables))
        return turned.swapaxes(0, 2)

    def backward(self, dy: Array, out: Array | None = None) -> Array:
        """Return the gradient of ``x``, for any number of heads at the positions of forward."""
        (*_, time, head_size), offset = self.recall()
        self._check_dy(dy, (*np.shape(dy)[:2], time, head_size))
        return ops.rotary_backward(dy, *self._angles(dy, offset), out=out)

    def _angles(self, x: Array, offset: int) -> tuple[Array, ...]:
        last = offset + x.shape[2]
        tables = _tables(1 << (last - 1).bit_length(), self.head_size, self.theta, x.real.dtype)
        return tuple(table[offset:last] for table in tables)


@functools.lru_cache(maxsize=16)
def _tables(length: int, head_size: int, theta: float, dtype: np.dtype) -> tuple[Array, ...]:
    tables = ops.rotary_angles(np.arange(length), head_size, theta)
    return tuple(table.astype(dtype) for table in tables)


class ALiBi(Layer):
    """A penalty on each score that grows with the distance: ``bias[h, d] = -slope_h |d|``.

    (Press, Smith and Lewis 2022, arXiv 2108.12409.) Nothing is learned, and a model runs past the
    length that it was trained at.

    Parameters
    ----------
    n_heads : int
        The slopes of a power of two are ``2^(-8/n), 2^(-16/n), ..., 2^-8``.
    """

    BUFFERS = ("slopes",)
    IN_STEPS = True

    def __init__(self, n_heads: int):
        super().__init__()
        check_whole("ALiBi", 1, n_heads=n_heads)
        self.n_heads = n_heads
        self.slopes = ops.alibi_slopes(n_heads)

    def forward(self, keys: int, dtype: Any = np.float32, time: int = 1) -> Array:
        """Return the biases of distances ``1-time .. keys-1``, (n_heads, time + keys - 1)."""
        self.keep((self.n_heads, time + keys - 1))
        return (-self.slopes[:, None] * np.abs(np.arange(1 - time, keys))).astype(dtype)

    def backward(self, dbias: Array) -> None:
        """Return None: nothing is learned, and distances have no gradient."""
        self._check_dy(dbias, self.recall())


class RelativePositionBias(Layer):
    """A learned number for each head and bucket of distances, added to the scores.

    ``bias[h, d] = weight[bucket(d), h]`` (Raffel et al. 2020, arXiv 1910.10683, section 2.1). Far
    distances share buckets, so a model runs past the length that it was trained at.

    Parameters
    ----------
    n_heads : int
    num_buckets : int
        Half of them hold one distance each, the others grow in geometric steps.
    max_distance : int
        From here on all distances share the last bucket.
    bidirectional : bool
        Whether keys after the query have buckets of their own, half of all, as in T5's encoder.
    tied_to : Parameter, optional
        The weight of another block's bias, which this one then shares, as T5's blocks do.
    std, rng, dtype
        As for `Embedding`.

    Attributes
    ----------
    weight : Parameter, shape (num_buckets, n_heads)

    Raises
    ------
    ValueError
        If there are fewer than 2 buckets for a side, or ``max_distance`` is not beyond the exact
        ones.

    Notes
    -----
    It is an embedding of buckets, and its backward is the same scatter: distances that share a
    bucket sum their gradients.
    """

    IN_STEPS = True

    def __init__(
        self,
        n_heads: int,
        num_buckets: int = 32,
        max_distance: int = 128,
        tied_to: Parameter | None = None,
        std: float = 0.02,
        rng: np.random.Generator | Unfilled | int | None = None,
        dtype: Any = np.float32,
        bidirectional: bool = False,
    ):
        super().__init__()
        check_whole("RelativePositionBias", n_heads=n_heads, num_buckets=num_buckets)
        check_whole("RelativePositionBias", max_distance=max_distance)
        check_real("RelativePositionBias", std=std)
        one_side = num_buckets // 2 if bidirectional else num_buckets
        if one_side < 2 or max_distance <= one_side // 2:
            raise ValueError(
                "RelativePositionBias: a side needs at least 2 buckets and a max_distance above "
                f"half of them, got {one_side} and {max_distance}."
            )
        self.bidirectional = bidirectional
        self.n_heads, self.num_buckets, self.max_distance = n_heads, num_buckets, max_distance
        self.weight = tied_to or Parameter(normal(rng, (num_buckets, n_heads), std, dtype))

    def forward(self, keys: int, dtype: Any = None, time: int = 1) -> Array:
        """Return the biases of distances ``1-time .. keys-1``, (n_heads, time + keys - 1)."""
        buckets = ops.relative_buckets(
            np.arange(1 - time, keys), self.num_buckets, self.max_distance, self.bidirectional
        )
        self.keep(buckets)
        return ops.embedding_forward(buckets, self.weight.value).T

    def backward(self, dbias: Array) -> None:
        """Add to the weight's gradient. Distances have no gradient: returns None."""
        buckets = self.recall()
        self._check_dy(dbias, (self.n_heads, len(buckets)))
        dweight = self.weight.grad
        if dweight is not None:
            ops.embedding_backward(dbias.T, buckets, dweight=dweight)


# --- which of them a config asks for --------------------------------------------------------------


def position_embedding(
    config: BlockConfig, context_length: int, init: Init
) -> PositionEmbedding | SinusoidalEmbedding | None:
    """Make what is added to the token embeddings; None for positions that act inside attention."""
    if config.position == "learned":
        return PositionEmbedding(context_length, config.d_model, INITIAL_STD, init.rng, init.dtype)
    if config.position == "sinusoidal":
        return SinusoidalEmbedding(config.d_model, INITIAL_STD)
    return None


def position_bias(
    config: BlockConfig, init: Init, tied_to: Parameter | None = None
) -> ALiBi | RelativePositionBias | None:
    """Make what is added to the scores of one block; see `RelativePositionBias` of ``tied_to``."""
    if config.position == "alibi":
        return ALiBi(config.n_heads)
    if config.position == "t5":
        return RelativePositionBias(
            config.n_heads,
            config.relative_attention_num_buckets,
            config.relative_attention_max_distance,
            tied_to,
            INITIAL_STD,
            init.rng,
            init.dtype,
            bidirectional=not config.causal,
        )
    return None


def gives_rows(positions: Layer) -> TypeGuard[PositionEmbedding | SinusoidalEmbedding]:
    """Whether positions are rows that an embedding may add; see `PositionEmbedding.rows_for`."""
    return does_as(positions, PositionEmbedding) or does_as(positions, SinusoidalEmbedding)
