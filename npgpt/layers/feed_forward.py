"""The position-wise feed-forward network."""

from __future__ import annotations

import numpy as np

from npgpt.layers.activations import ACTIVATIONS, activation_width
from npgpt.layers.block_config import BlockConfig, check_config
from npgpt.layers.core.init import Init
from npgpt.layers.core.layer import Layer
from npgpt.layers.linear import Linear


class FeedForward(Layer):
    """Two linear maps with an activation between them, at each position alone.

    ``y = W_down activation(W_up x + b_up) + b_down`` (Vaswani et al. 2017, eq. 2, with ReLU).

    Parameters
    ----------
    config : BlockConfig
        Of it: ``d_model``, ``d_ff``, ``bias`` and ``activation`` (GELU in the tanh form that GPT-2
        uses, or exact; ReLU; SwiGLU, whose ``up`` is twice as wide: its first ``d_ff`` outputs are
        the gates).
    init : Init, optional

    Notes
    -----
    Taps: ``hidden`` (before the activation), ``activation`` (after it), ``output``.
    """

    TAPS = ("hidden", "activation", "output")

    def __init__(self, config: BlockConfig, init: Init | None = None):
        super().__init__()
        check_config(config, self)
        init = init or Init()
        d_model, d_ff = config.d_model, config.feed_forward_size
        d_up = activation_width(config.activation) * d_ff
        self.up = Linear(d_model, d_up, config.bias, rng=init.rng, dtype=init.dtype)
        self.activation = ACTIVATIONS[config.activation]()
        self.down = Linear(d_ff, d_model, config.bias, config.projection_std, init.rng, init.dtype)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Map (..., d_model) to the same shape."""
        if self.up.bias is None or self.is_listened_to("hidden"):
            activation = self.activation.forward(self.tap("hidden", self.up.forward(x)))
        else:
            activation = self.activation.forward(self.up.forward(x, with_bias=False), self.up.bias)
        return self.tap("output", self.down.forward(self.tap("activation", activation)))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Add to the gradients of both maps; return that of ``x``, (..., d_model)."""
        dy = self.tap_grad("output", dy)
        dactivation = self.tap_grad("activation", self.down.backward(dy))
        dhidden = self.tap_grad("hidden", self.activation.backward(dactivation))
        return self.up.backward(dhidden)
