"""The same operations in Numba, made for speed and proved equal to `npgpt.ops.reference`.

Each public function here has its reference twin's name, arguments and results; its docstring is the
twin's. Kernels take contiguous float32 or float64 arrays; whatever else comes (complex numbers, for
a complex step) goes to the reference. Sums over rows are made in fixed chunks, so that the result
does not depend on the number of threads. Machine code is cached on disk beside this file, or in the
user's cache folder where this one cannot be written.
"""

from npgpt.ops.compiled.activations import (
    relu_backward,
    relu_forward,
    swiglu_backward,
    swiglu_forward,
)
from npgpt.ops.compiled.adam import adam_update, adamw_update, sum_of_squares
from npgpt.ops.compiled.attention import attention_backward, attention_forward
from npgpt.ops.compiled.cached_attention import cached_attention_forward
from npgpt.ops.compiled.cross_entropy import (
    cross_entropy_backward,
    cross_entropy_forward,
    head_cross_entropy_backward,
    head_cross_entropy_forward,
    head_log_probs_backward,
    head_log_probs_forward,
)
from npgpt.ops.compiled.dropout import (
    dropout_add_forward,
    dropout_backward,
    dropout_forward,
    dropout_mask,
)
from npgpt.ops.compiled.embedding import embedding_backward, embedding_forward
from npgpt.ops.compiled.gelu import (
    gelu_exact_backward,
    gelu_exact_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
)
from npgpt.ops.compiled.layer_norm import layer_norm_backward, layer_norm_forward
from npgpt.ops.compiled.linear import linear_backward, linear_forward
from npgpt.ops.compiled.lora import low_rank_backward, low_rank_forward
from npgpt.ops.compiled.quantized import quantized_linear_forward
from npgpt.ops.compiled.rms_norm import rms_norm_backward, rms_norm_forward
from npgpt.ops.compiled.rotary import rotary_backward, rotary_forward
from npgpt.ops.compiled.sgd import momentum_update, sgd_update

__all__ = [
    "adam_update",
    "adamw_update",
    "attention_backward",
    "attention_forward",
    "cached_attention_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "dropout_add_forward",
    "dropout_backward",
    "dropout_forward",
    "dropout_mask",
    "embedding_backward",
    "embedding_forward",
    "gelu_exact_backward",
    "gelu_exact_forward",
    "gelu_tanh_backward",
    "gelu_tanh_forward",
    "head_cross_entropy_backward",
    "head_cross_entropy_forward",
    "head_log_probs_backward",
    "head_log_probs_forward",
    "layer_norm_backward",
    "layer_norm_forward",
    "linear_backward",
    "linear_forward",
    "low_rank_backward",
    "low_rank_forward",
    "momentum_update",
    "quantized_linear_forward",
    "relu_backward",
    "relu_forward",
    "rms_norm_backward",
    "rms_norm_forward",
    "rotary_backward",
    "rotary_forward",
    "sgd_update",
    "sum_of_squares",
    "swiglu_backward",
    "swiglu_forward",
]
