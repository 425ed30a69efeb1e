"""Positions: biases by distance, added to the scores of attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgpt import ops
from npgpt.layers.block_config import BlockConfig
from npgpt.layers.core.init import INITIAL_STD, Init, Unfilled, normal
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter
from npgpt.ops.array import Array


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
        self.n_heads = n_heads
        self.slopes = ops.alibi_slopes(n_heads)

    def forward(self, keys: int, dtype: Any = np.float32, time: int = 1) -> Array:
        """Return the biases of distances ``1-time .. keys-1``, (n_heads, time + keys - 1).

        Parameters
        ----------
        keys : int
            How many there are.
        dtype : dtype
            Of the biases.
        time : int
            How many queries there are, which are the last of the keys' positions.
        """
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
        """Return the biases of distances ``1-time .. keys-1``, (n_heads, time + keys - 1).

        Parameters
        ----------
        keys, time
            As for `ALiBi.forward`.
        dtype : dtype, optional
            Not used: the biases have the weight's.
        """
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


def position_bias(
    config: BlockConfig, init: Init, tied_to: Parameter | None = None
) -> ALiBi | RelativePositionBias | None:
    """Make what is added to the scores of one block; see `RelativePositionBias` of ``tied_to``.

    Parameters
    ----------
    config : BlockConfig
    init : Init
    tied_to : Parameter, optional
        As for `RelativePositionBias`.
    """
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
