"""Layers: parameters, what forward kept for backward, and the order of the operations.

Each file holds one layer, a class with an explicit ``forward`` and ``backward``; the mathematics is
in `npgpt.ops`. Backward mirrors forward line by line, in reverse.
"""

from npgpt.layers.activations import ACTIVATIONS, ReLU, SwiGLU
from npgpt.layers.alibi import ALiBi
from npgpt.layers.attention import MultiHeadAttention
from npgpt.layers.base import Layer
from npgpt.layers.batch_norm import BatchNorm
from npgpt.layers.cross_entropy import CrossEntropy
from npgpt.layers.dropout import Dropout
from npgpt.layers.embedding import Embedding, PositionEmbedding
from npgpt.layers.feed_forward import FeedForward
from npgpt.layers.flat import FlatParameters, flat_of, flatten_trained
from npgpt.layers.gelu import GELU
from npgpt.layers.key_value_cache import KeyValueCache
from npgpt.layers.layer_norm import LayerNorm
from npgpt.layers.linear import Linear
from npgpt.layers.lora import LoRALinear
from npgpt.layers.no_norm import NoNorm
from npgpt.layers.norms import NORMS
from npgpt.layers.one_hot import OneHotEmbedding
from npgpt.layers.output_head import OutputHead
from npgpt.layers.parameter import Parameter
from npgpt.layers.recompute import RecomputingBlock
from npgpt.layers.relative_bias import RelativePositionBias
from npgpt.layers.rms_norm import RMSNorm
from npgpt.layers.rotary import RotaryEmbedding
from npgpt.layers.self_attention import (
    CausalSelfAttention,
    SelfAttention,
    SimplifiedSelfAttention,
)
from npgpt.layers.sinusoidal import SinusoidalEmbedding
from npgpt.layers.stacked_attention import StackedAttention, explain_shapes
from npgpt.layers.transformer_block import NORM_POSITIONS, TransformerBlock

__all__ = [
    "ACTIVATIONS",
    "GELU",
    "NORMS",
    "NORM_POSITIONS",
    "ALiBi",
    "BatchNorm",
    "CausalSelfAttention",
    "CrossEntropy",
    "Dropout",
    "Embedding",
    "FeedForward",
    "FlatParameters",
    "KeyValueCache",
    "Layer",
    "LayerNorm",
    "Linear",
    "LoRALinear",
    "MultiHeadAttention",
    "NoNorm",
    "OneHotEmbedding",
    "OutputHead",
    "Parameter",
    "PositionEmbedding",
    "RMSNorm",
    "ReLU",
    "RecomputingBlock",
    "RelativePositionBias",
    "RotaryEmbedding",
    "SelfAttention",
    "SimplifiedSelfAttention",
    "SinusoidalEmbedding",
    "StackedAttention",
    "SwiGLU",
    "TransformerBlock",
    "explain_shapes",
    "flat_of",
    "flatten_trained",
]
