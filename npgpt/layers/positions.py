"""Positions: rows that are added to embeddings, turned queries and keys."""

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
from npgpt.ops.array import Array


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

        Parameters
        ----------
        x : ndarray, shape (batch, time, d_model)
        offset : int
            The position of the first row of ``x``.

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
        dtype, whatever ``dtype`` is, which positions that are not learned need.

        Parameters
        ----------
        shape : tuple of int
            Of what the rows are added to.
        dtype : dtype, optional
            Not used.
        offset : int
            As for `forward`.
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
    halves : bool
        All sines stand first and the cosines behind them, rounded to float32, as in MarianMT's
        table (Junczys-Dowmunt et al. 2018, arXiv 1804.00344; released code).
    """

    IN_STEPS = True

    def __init__(self, d_model: int, scale: float = 1.0, halves: bool = False):
        super().__init__()
        check_whole("SinusoidalEmbedding", d_model=d_model)
        check_real("SinusoidalEmbedding", scale=scale)
        self.d_model, self.scale, self.halves = d_model, scale, halves

    def forward(self, x: Array, offset: int = 0) -> Array:
        """Add the rows of positions ``offset ..`` to ``x``, (batch, time, d_model).

        Parameters
        ----------
        x, offset
            As for `PositionEmbedding.forward`.
        """
        self._check_last_axis(x, self.d_model, "d_model")
        return x + self.rows_for(x.shape, x.dtype, offset)

    def rows_for(self, shape: tuple[int, ...], dtype: Any, offset: int = 0) -> Array:
        """Return the rows that belong to ``x`` of a shape (batch, time, d_model), to be added.

        Parameters
        ----------
        shape, offset
            As for `PositionEmbedding.rows_for`.
        dtype : dtype
            Of the rows.
        """
        self.keep(shape)
        last = offset + shape[-2]
        length = 1 << (last - 1).bit_length()
        rows = _table(length, self.d_model, self.scale, self.halves, np.dtype(dtype))
        return rows[offset:last]

    def backward(self, dy: Array) -> Array:
        """Return ``dy``, the gradient of ``x``."""
        self._check_dy(dy, self.recall())
        return dy


@functools.lru_cache(maxsize=4)
def _table(length: int, d_model: int, scale: float, halves: bool, dtype: np.dtype) -> Array:
    rows = ops.sinusoids(np.arange(length), d_model)
    if halves:
        rows = np.concatenate([rows[:, 0::2], rows[:, 1::2]], axis=1).astype(np.float32)
    return (scale * rows).astype(dtype)


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

        Parameters
        ----------
        x : ndarray, shape (batch, heads, time, head_size)
        offset : int
            The position of its first row.
        out : ndarray, optional
            Where the result goes; it may be ``x`` itself.
        """
        self._check_last_axis(x, self.head_size, "head_size")
        self.keep(Rows(x.shape, offset))
        return ops.rotary_forward(x, *self._angles(x, offset), out=out)

    def forward_at(self, x: Array, positions: Array) -> Array:
        """Turn one position of each sequence, (batch, heads, 1, head_size); no backward follows.

        Parameters
        ----------
        x : ndarray, shape (batch, heads, 1, head_size)
        positions : ndarray of int, shape (batch,)
        """
        self._check_last_axis(x, self.head_size, "head_size")
        last = int(positions.max()) + 1
        tables = _tables(1 << (last - 1).bit_length(), self.head_size, self.theta, x.real.dtype)
        # the sequences take the place of time: each has a position of its own
        turned = ops.rotary_forward(x.swapaxes(0, 2), *(table[positions] for table in tables))
        return turned.swapaxes(0, 2)

    def backward(self, dy: Array, out: Array | None = None) -> Array:
        """Return the gradient of ``x``, for any number of heads at the positions of forward.

        Parameters
        ----------
        dy : ndarray, shape (batch, heads, time, head_size)
        out : ndarray, optional
            Where the result goes; it may be ``dy`` itself.
        """
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


def position_embedding(
    config: BlockConfig, context_length: int, init: Init
) -> PositionEmbedding | SinusoidalEmbedding | None:
    """Make what is added to the token embeddings; None for positions that act inside attention.

    Parameters
    ----------
    config : BlockConfig
    context_length : int
        Rows of a learned table.
    init : Init
    """
    if config.position == "learned":
        return PositionEmbedding(context_length, config.d_model, INITIAL_STD, init.rng, init.dtype)
    if config.position == "sinusoidal":
        return SinusoidalEmbedding(config.d_model, INITIAL_STD)
    return None


def gives_rows(layer: Layer) -> TypeGuard[PositionEmbedding | SinusoidalEmbedding]:
    """Whether positions are rows that an embedding may add; see `PositionEmbedding.rows_for`."""
    return does_as(layer, PositionEmbedding) or does_as(layer, SinusoidalEmbedding)
