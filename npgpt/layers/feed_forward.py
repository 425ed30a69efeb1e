"""The position-wise feed-forward network."""

import numpy as np

from npgpt.layers.base import Layer
from npgpt.layers.gelu import GELU
from npgpt.layers.linear import Linear


class FeedForward(Layer):
    """Two linear maps with a GELU between them, at each position alone.

    ``y = W_down gelu(W_up x + b_up) + b_down`` (Vaswani et al. 2017, eq. 2, with GELU).

    Parameters
    ----------
    d_model : int
    d_ff : int, optional
        Width of the hidden layer; ``4 * d_model`` by default.
    bias : bool
    approximate : {"tanh", "none"}
        The form of `GELU`.
    projection_std : float
        Standard deviation of the start of ``down``, which writes to the residual stream.
    rng, dtype
        As for `Linear`.

    Notes
    -----
    Taps: ``hidden`` (before the GELU), ``activation`` (after it), ``output``.
    """

    TAPS = ("hidden", "activation", "output")

    def __init__(
        self,
        d_model,
        d_ff=None,
        bias=True,
        approximate="tanh",
        projection_std=0.02,
        rng=None,
        dtype=np.float32,
    ):
        super().__init__()
        d_ff = d_ff or 4 * d_model
        rng = np.random.default_rng(rng)
        self.up = Linear(d_model, d_ff, bias, rng=rng, dtype=dtype)
        self.gelu = GELU(approximate)
        self.down = Linear(d_ff, d_model, bias, projection_std, rng=rng, dtype=dtype)

    def forward(self, x):
        """Map (..., d_model) to the same shape."""
        if self.up.bias is None or self.is_listened_to("hidden"):
            activation = self.gelu.forward(self.tap("hidden", self.up.forward(x)))
        else:
            activation = self.gelu.forward(self.up.forward(x, with_bias=False), self.up.bias)
        return self.tap("output", self.down.forward(self.tap("activation", activation)))

    def backward(self, dy):
        """Add to the gradients of both maps; return that of ``x``, (..., d_model)."""
        dy = self.tap_grad("output", dy)
        dactivation = self.tap_grad("activation", self.down.backward(dy))
        dhidden = self.tap_grad("hidden", self.gelu.backward(dactivation))
        return self.up.backward(dhidden)
