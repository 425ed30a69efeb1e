"""The position-wise feed-forward network."""

from __future__ import annotations

from typing import NamedTuple

from npgpt.fields import short_repr
from npgpt.layers.activations import ACTIVATIONS, GELU, Activation, ReLU, SiLU, SwiGLU, input_size
from npgpt.layers.block_config import BlockConfig, check_config
from npgpt.layers.core.init import Init
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter
from npgpt.layers.linear import Linear
from npgpt.layers.lora import LoRALinear
from npgpt.layers.quantized import QuantizedLinear
from npgpt.ops.array import Array

# what may be fused: maps whose bias another layer may add, activations that add a bias
MAPS, FUSED_ACTIVATIONS = (Linear, LoRALinear, QuantizedLinear), (GELU, ReLU, SiLU, SwiGLU)


class Fused(NamedTuple):
    """What `FeedForward` keeps where the activation adds the bias of ``up``."""

    product: Array
    bias: Parameter

    def __repr__(self) -> str:
        return short_repr(self)


class InSteps(NamedTuple):
    """What `FeedForward` keeps where both maps and the activation keep their own."""


class FeedForward(Layer):
    """Two linear maps with an activation between them, at each position alone.

    ``y = W_down activation(W_up x + b_up) + b_down`` (Vaswani et al. 2017, eq. 2, with ReLU).

    Parameters
    ----------
    config : BlockConfig
        Of it: ``d_model``, ``d_ff``, ``bias`` and ``activation`` (GELU in the tanh form that GPT-2
        uses, or exact; ReLU; SiLU; SwiGLU, whose ``up`` is twice as wide: its first ``d_ff``
        outputs are the gates).
    init : Init, optional

    Notes
    -----
    Taps: ``hidden`` (before the activation), ``activation`` (after it), ``output``.
    """

    TAPS = ("hidden", "activation", "output")

    IN_STEPS = True

    def __init__(self, config: BlockConfig, init: Init | None = None):
        super().__init__()
        check_config(config, self)
        init = init or Init()
        d_model, d_ff = config.d_model, config.feed_forward_size
        activation = ACTIVATIONS[config.activation]()
        d_up = input_size(activation, d_ff)
        self.up = Linear(d_model, d_up, config.bias, config.initial_std, init.rng, init.dtype)
        self.activation = activation
        self.down = Linear(d_ff, d_model, config.bias, config.projection_std, init.rng, init.dtype)

    def forward(self, x: Array) -> Array:
        """Map (..., d_model) to the same shape."""
        activation, bias = self.activation, self._bias_to_fuse()
        if bias is not None and isinstance(activation, Activation):
            product = self.up.product(x)
            self.keep(Fused(product, bias))
            y = activation.forward_op(product, bias.value)
        else:
            self.keep(InSteps())
            y = activation.forward(self.tap("hidden", self.up.forward(x)))
        return self.tap("output", self.down.forward(self.tap("activation", y)))

    def backward(self, dy: Array) -> Array:
        """Add to the gradients of both maps; return that of ``x``, (..., d_model)."""
        kept = self.recall()
        dy = self.tap_grad("output", dy)
        dactivation = self.tap_grad("activation", self.down.backward(dy))
        activation = self.activation
        if isinstance(kept, Fused) and isinstance(activation, Activation):
            product, bias = kept
            dhidden = activation.backward_op(dactivation, product, bias.value, bias.grad)
        else:
            dhidden = activation.backward(dactivation)
        return self.up.backward(self.tap_grad("hidden", dhidden))

    def _bias_to_fuse(self) -> Parameter | None:
        """Return the bias of ``up`` if the activation may add it, and nobody hears it added."""
        if type(self.up) not in MAPS or type(self.activation) not in FUSED_ACTIVATIONS:
            return None  # not this package's: only forward and backward are known of it
        return None if self.is_listened_to("hidden") else self.up.bias
