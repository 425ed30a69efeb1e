"""Layers: parameters, what forward kept for backward, and the order of the operations.

Each file holds one layer, a class with an explicit ``forward`` and ``backward``; the mathematics is
in `npgpt.ops`. Backward mirrors forward line by line, in reverse.
"""

from npgpt.layers.activations import ACTIVATIONS, GELU, GLU, ReLU, SiLU, SwiGLU, Tanh
from npgpt.layers.attention import MultiHeadAttention
from npgpt.layers.bert_heads import MaskedWordHead, Pooler
from npgpt.layers.block_config import NORM_POSITIONS, BlockConfig
from npgpt.layers.convolution import CausalConv1d, GatedConv1d
from npgpt.layers.core.flat import FlatParameters, flat_of, flatten_trained
from npgpt.layers.core.init import Init
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter
from npgpt.layers.dropout import Dropout
from npgpt.layers.embedding import Embedding
from npgpt.layers.feed_forward import FeedForward
from npgpt.layers.gru import GRU
from npgpt.layers.heads import OutputHead
from npgpt.layers.linear import Linear
from npgpt.layers.lora import LoRALinear
from npgpt.layers.losses import CrossEntropy
from npgpt.layers.lstm import LSTM
from npgpt.layers.norms import NORMS, BatchNorm, LayerNorm, NoNorm, RMSNorm
from npgpt.layers.position_bias import ALiBi, RelativePositionBias
from npgpt.layers.positions import (
    PositionEmbedding,
    RotaryEmbedding,
    SinusoidalEmbedding,
)
from npgpt.layers.rnn import RNN
from npgpt.layers.rungs.one_hot import OneHotEmbedding
from npgpt.layers.rungs.self_attention import (
    CausalSelfAttention,
    SelfAttention,
    SimplifiedSelfAttention,
)
from npgpt.layers.rungs.stacked_attention import StackedAttention, explain_shapes
from npgpt.layers.sequence_attention import (
    AdditiveAttention,
    ConcatAttention,
    DotAttention,
    GeneralAttention,
)
from npgpt.layers.stack import Stack
from npgpt.layers.states import KeyValueCache
from npgpt.layers.transformer_block import RecomputingBlock, TransformerBlock

__all__ = [
    "ACTIVATIONS",
    "GELU",
    "GLU",
    "GRU",
    "LSTM",
    "NORMS",
    "NORM_POSITIONS",
    "RNN",
    "ALiBi",
    "AdditiveAttention",
    "BatchNorm",
    "BlockConfig",
    "CausalConv1d",
    "CausalSelfAttention",
    "ConcatAttention",
    "CrossEntropy",
    "DotAttention",
    "Dropout",
    "Embedding",
    "FeedForward",
    "FlatParameters",
    "GatedConv1d",
    "GeneralAttention",
    "Init",
    "KeyValueCache",
    "Layer",
    "LayerNorm",
    "Linear",
    "LoRALinear",
    "MaskedWordHead",
    "MultiHeadAttention",
    "NoNorm",
    "OneHotEmbedding",
    "OutputHead",
    "Parameter",
    "Pooler",
    "PositionEmbedding",
    "RMSNorm",
    "ReLU",
    "RecomputingBlock",
    "RelativePositionBias",
    "RotaryEmbedding",
    "SelfAttention",
    "SiLU",
    "SimplifiedSelfAttention",
    "SinusoidalEmbedding",
    "Stack",
    "StackedAttention",
    "SwiGLU",
    "Tanh",
    "TransformerBlock",
    "explain_shapes",
    "flat_of",
    "flatten_trained",
]
