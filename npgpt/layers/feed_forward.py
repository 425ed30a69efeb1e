"""The position-wise feed-forward network."""

import numpy as np

from npgpt.layers.activations import ACTIVATIONS, activation_width, default_d_ff
from npgpt.layers.core.layer import Layer
from npgpt.layers.linear import Linear


class FeedForward(Layer):
    """Two linear maps with an activation between them, at each position alone.

    ``y = W_down activation(W_up x + b_up) + b_down`` (Vaswani et al. 2017, eq. 2, with ReLU).

    Parameters
    ----------
    d_model : int
    d_ff : int, optional
        Width of what ``down`` reads. By default ``4 * d_model``; with SwiGLU two thirds of it,
        rounded up to a multiple of 8.
    bias : bool
    activation : {"gelu", "gelu_exact", "relu", "swiglu"}
        GELU in the tanh form that GPT-2 uses, or exact; ReLU; SwiGLU, whose ``up`` is twice as
        wide: its first ``d_ff`` outputs are the gates.
    projection_std : float
        Standard deviation of the start of ``down``, which writes to the residual stream.
    rng, dtype
        As for `Linear`.

    Raises
    ------
    ValueError
        If there is no such activation.

    Notes
    -----
    Taps: ``hidden`` (before the activation), ``activation`` (after it), ``output``.
    """

    TAPS = ("hidden", "activation", "output")

    def __init__(
        self,
        d_model,
        d_ff=None,
        bias=True,
        activation="gelu",
        projection_std=0.02,
        rng=None,
        dtype=np.float32,
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"FeedForward: activation must be one of {', '.join(ACTIVATIONS)}, "
                f"got {activation!r}."
            )
        d_ff = d_ff or default_d_ff(d_model, activation)
        d_up = activation_width(activation) * d_ff
        rng = np.random.default_rng(rng)
        self.up = Linear(d_model, d_up, bias, rng=rng, dtype=dtype)
        self.activation = ACTIVATIONS[activation]()
        self.down = Linear(d_ff, d_model, bias, projection_std, rng=rng, dtype=dtype)

    def forward(self, x):
        """Map (..., d_model) to the same shape."""
        if self.up.bias is None or self.is_listened_to("hidden"):
            activation = self.activation.forward(self.tap("hidden", self.up.forward(x)))
        else:
            activation = self.activation.forward(self.up.forward(x, with_bias=False), self.up.bias)
        return self.tap("output", self.down.forward(self.tap("activation", activation)))

    def backward(self, dy):
        """Add to the gradients of both maps; return that of ``x``, (..., d_model)."""
        dy = self.tap_grad("output", dy)
        dactivation = self.tap_grad("activation", self.down.backward(dy))
        dhidden = self.tap_grad("hidden", self.activation.backward(dactivation))
        return self.up.backward(dhidden)
