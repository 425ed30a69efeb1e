"""The specification: every operation in NumPy, written to be read beside its derivation.

Each file holds one subject as a forward/backward pair. Three rules hold throughout:

- The gradient of an *input* is returned; the gradient of a *parameter* is added into the array
  given last (``dweight``, ``dgamma``, ...), because one parameter may be used several times.
- Nothing is kept between calls: what backward needs is passed to it.
- Every operation is analytic (no ``abs``, no conjugate, comparisons on real parts only), so that
  it accepts complex numbers and a complex step differentiates it to rounding.
"""

from npgpt.ops.reference.adam import adam_update, adamw_update, sum_of_squares
from npgpt.ops.reference.attention import (
    attention_backward,
    attention_forward,
    causal_scores_backward,
    causal_scores_forward,
    distance_bias_backward,
    distance_bias_forward,
    scores_backward,
    scores_forward,
    weighted_sum_backward,
    weighted_sum_forward,
)
from npgpt.ops.reference.batch_norm import batch_norm_backward, batch_norm_forward
from npgpt.ops.reference.cached_attention import cached_attention_forward
from npgpt.ops.reference.cross_entropy import (
    cross_entropy_backward,
    cross_entropy_forward,
    head_cross_entropy_backward,
    head_cross_entropy_forward,
    head_log_probs_backward,
    head_log_probs_forward,
)
from npgpt.ops.reference.dropout import (
    DropoutKey,
    dropout_add_forward,
    dropout_backward,
    dropout_forward,
    dropout_mask,
)
from npgpt.ops.reference.embedding import embedding_backward, embedding_forward
from npgpt.ops.reference.gelu import (
    gelu_exact_backward,
    gelu_exact_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
)
from npgpt.ops.reference.layer_norm import layer_norm_backward, layer_norm_forward
from npgpt.ops.reference.linear import linear_backward, linear_forward
from npgpt.ops.reference.lora import low_rank_backward, low_rank_forward
from npgpt.ops.reference.normalise import (
    mask_future_backward,
    mask_future_forward,
    sum_normalise_backward,
    sum_normalise_forward,
)
from npgpt.ops.reference.positions import alibi_slopes, relative_buckets, sinusoids
from npgpt.ops.reference.preference import preference_loss_backward, preference_loss_forward
from npgpt.ops.reference.quantized import (
    from_bits,
    quantized_linear_forward,
    to_bfloat16,
    to_int8,
)
from npgpt.ops.reference.relu import relu_backward, relu_forward
from npgpt.ops.reference.rms_norm import rms_norm_backward, rms_norm_forward
from npgpt.ops.reference.rotary import rotary_angles, rotary_backward, rotary_forward
from npgpt.ops.reference.sgd import momentum_update, sgd_update
from npgpt.ops.reference.softmax import log_sum_exp, softmax_backward, softmax_forward
from npgpt.ops.reference.swiglu import swiglu_backward, swiglu_forward

__all__ = [
    "DropoutKey",
    "adam_update",
    "adamw_update",
    "alibi_slopes",
    "attention_backward",
    "attention_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "cached_attention_forward",
    "causal_scores_backward",
    "causal_scores_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "distance_bias_backward",
    "distance_bias_forward",
    "dropout_add_forward",
    "dropout_backward",
    "dropout_forward",
    "dropout_mask",
    "embedding_backward",
    "embedding_forward",
    "from_bits",
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
    "log_sum_exp",
    "low_rank_backward",
    "low_rank_forward",
    "mask_future_backward",
    "mask_future_forward",
    "momentum_update",
    "preference_loss_backward",
    "preference_loss_forward",
    "quantized_linear_forward",
    "relative_buckets",
    "relu_backward",
    "relu_forward",
    "rms_norm_backward",
    "rms_norm_forward",
    "rotary_angles",
    "rotary_backward",
    "rotary_forward",
    "scores_backward",
    "scores_forward",
    "sgd_update",
    "sinusoids",
    "softmax_backward",
    "softmax_forward",
    "sum_normalise_backward",
    "sum_normalise_forward",
    "sum_of_squares",
    "swiglu_backward",
    "swiglu_forward",
    "to_bfloat16",
    "to_int8",
    "weighted_sum_backward",
    "weighted_sum_forward",
]
