"""A model's matrices in fewer bits, for inference."""

from __future__ import annotations

import numpy as np

from npgpt.layers import Embedding, Layer, Linear, OutputHead
from npgpt.layers.quantized import (
    QuantizedEmbedding,
    QuantizedHead,
    QuantizedLinear,
    QuantizedWeight,
)


def quantize(model: Layer, kind: str) -> None:
    """Round every matrix but the positions' to bfloat16 or int8; see `GPT.quantize`."""
    dtypes = {parameter.value.dtype for parameter in model.parameters()}
    if dtypes != {np.dtype(np.float32)}:
        raise ValueError(
            f"GPT.quantize: the model must be float32, got {', '.join(sorted(map(str, dtypes)))}."
        )
    matrices = [x for x in model.layers() if isinstance(x, Embedding | Linear | OutputHead)]
    for layer in matrices:
        if isinstance(layer, Linear) and type(layer) is not Linear:
            raise ValueError(
                f"GPT.quantize: {layer.name} is a {type(layer).__name__}; merge adapters first."
            )
    rounded = {x.weight: QuantizedWeight(x.weight.value, kind) for x in matrices}  # tied ones once
    for layer in matrices:
        weight = rounded[layer.weight]
        if isinstance(layer, Linear):
            model.replace(layer, QuantizedLinear(weight, layer.bias))
        elif isinstance(layer, OutputHead):
            model.replace(layer, QuantizedHead(weight, layer.bias))
        else:
            model.replace(layer, QuantizedEmbedding(weight, layer))
    for parameter in model.parameters():
        parameter.value = parameter.value.copy()  # all were parts of one array, which goes now
        parameter.flat = None
    model.assign_names()
    model.train(model.training)
