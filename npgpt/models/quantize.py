"""A model's matrices in fewer bits, for inference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npgpt.layers import Linear
from npgpt.layers.quantized import (
    QuantizedEmbedding,
    QuantizedHead,
    QuantizedLinear,
    QuantizedWeight,
)

if TYPE_CHECKING:
    from npgpt.models.gpt import GPT


def quantize(model: GPT, kind: str) -> None:
    """Round every matrix but the positions' to bfloat16 or int8; see `GPT.quantize`."""
    if model.dtype != np.float32:
        raise ValueError(f"GPT.quantize: the model must be float32, got {model.dtype}.")

    def rounded(layer) -> QuantizedWeight:
        return QuantizedWeight(layer.weight.value, kind)

    def linear(layer) -> QuantizedLinear:
        if type(layer) is not Linear:
            raise ValueError(
                f"GPT.quantize: {layer.name} is a {type(layer).__name__}; merge adapters first."
            )
        return QuantizedLinear(rounded(layer), layer.bias)

    head = rounded(model.head)
    tied = model.config.tie_embeddings
    table = head if tied else rounded(model.token_embedding)
    model.head = QuantizedHead(head)
    model.token_embedding = QuantizedEmbedding(table, model.token_embedding)
    for block in model.blocks:
        attention, feed_forward = block.attention, block.feed_forward
        attention.qkv, attention.projection = linear(attention.qkv), linear(attention.projection)
        feed_forward.up, feed_forward.down = linear(feed_forward.up), linear(feed_forward.down)
    for parameter in model.parameters():
        parameter.value = parameter.value.copy()  # all were parts of one array, which goes now
        parameter.flat = None
    model.assign_names()
    model.train(model.training)
