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

    linears = [layer for layer in model.layers() if isinstance(layer, Linear)]
    for layer in linears:
        if type(layer) is not Linear:
            raise ValueError(
                f"GPT.quantize: {layer.name} is a {type(layer).__name__}; merge adapters first."
            )
    head = QuantizedWeight(model.head.weight.value, kind)
    tied = model.head.weight is model.token_embedding.weight
    table = head if tied else QuantizedWeight(model.token_embedding.weight.value, kind)
    model.replace(model.head, QuantizedHead(head))
    model.replace(model.token_embedding, QuantizedEmbedding(table, model.token_embedding))
    for layer in linears:
        rounded = QuantizedWeight(layer.weight.value, kind)
        model.replace(layer, QuantizedLinear(rounded, layer.bias))
    for parameter in model.parameters():
        parameter.value = parameter.value.copy()  # all were parts of one array, which goes now
        parameter.flat = None
    model.assign_names()
    model.train(model.training)
