"""The table of the ways in which positions enter a GPT."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from npgpt.layers import (
    ALiBi,
    Layer,
    PositionEmbedding,
    RelativePositionBias,
    RotaryEmbedding,
    SinusoidalEmbedding,
)

if TYPE_CHECKING:
    from npgpt.models.config import GPTConfig

INITIAL_STD = 0.02  # of embeddings (Radford et al. 2019; released code)


@dataclasses.dataclass(frozen=True)
class Position:
    """How one kind of position enters: functions that make layers, where it acts.

    Attributes
    ----------
    embedding : function of (config, rng, dtype), optional
        Makes what is added to the token embeddings.
    rotary : function of config, optional
        Makes what turns queries and keys, one for each block.
    bias : function of (config, first, rng, dtype), optional
        Makes what is added to the scores, one for each block; ``first`` is the first block's.
    bounded : bool
        Whether a sequence must not be longer than the context.
    """

    embedding: Callable[..., Layer] | None = None
    rotary: Callable[[GPTConfig], Layer] | None = None
    bias: Callable[..., Layer] | None = None
    bounded: bool = False

    def attention_layers(self, config: GPTConfig, first: Any, rng, dtype) -> dict[str, Layer]:
        """Make the layers that a block's attention takes, by the names of its arguments."""
        layers = {}
        if self.rotary is not None:
            layers["rotary"] = self.rotary(config)
        if self.bias is not None:
            shared = first.attention.position_bias if first is not None else None
            layers["position_bias"] = self.bias(config, shared, rng, dtype)
        return layers


POSITIONS = {
    "learned": Position(
        embedding=lambda config, rng, dtype: PositionEmbedding(
            config.context_length, config.d_model, INITIAL_STD, rng, dtype
        ),
        bounded=True,
    ),
    "sinusoidal": Position(
        embedding=lambda config, rng, dtype: SinusoidalEmbedding(config.d_model, INITIAL_STD)
    ),
    "t5": Position(
        bias=lambda config, first, rng, dtype: RelativePositionBias(
            config.n_heads,
            config.relative_attention_num_buckets,
            config.relative_attention_max_distance,
            first.weight if first is not None else None,
            INITIAL_STD,
            rng,
            dtype,
        )
    ),
    "alibi": Position(bias=lambda config, first, rng, dtype: ALiBi(config.n_heads)),
    "rope": Position(
        rotary=lambda config: RotaryEmbedding(config.d_model // config.n_heads, config.rope_theta)
    ),
    "none": Position(),
}
