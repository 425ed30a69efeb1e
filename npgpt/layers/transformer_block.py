"""The pre-norm Transformer block."""

import numpy as np

from npgpt.layers.attention import MultiHeadAttention
from npgpt.layers.base import Layer
from npgpt.layers.dropout import Dropout
from npgpt.layers.feed_forward import FeedForward
from npgpt.layers.layer_norm import LayerNorm


class TransformerBlock(Layer):
    """GPT-2's block: attention and feed-forward, each behind a layer norm and a shortcut.

    ``x = x + dropout(attention(attention_norm(x)))``, then
    ``x = x + dropout(feed_forward(feed_forward_norm(x)))`` (Radford et al. 2019, section 2.3).

    Parameters
    ----------
    d_model, n_heads : int
    d_ff : int, optional
        ``4 * d_model`` by default.
    dropout : float
        For the attention weights and for both branches' outputs.
    bias : bool
    layer_norm_eps : float
    projection_std : float
        Standard deviation of the start of the two maps that write to the residual stream.
    seed, first_stream : int
        Of the three dropout layers, which take the streams ``first_stream``, ``+1`` and ``+2``.
    rng, dtype
        As for `Linear`.

    Notes
    -----
    Taps: ``residual_middle`` (between the two halves), ``residual`` (the output).
    """

    TAPS = ("residual_middle", "residual")

    def __init__(
        self,
        d_model,
        n_heads,
        d_ff=None,
        dropout=0.0,
        bias=True,
        layer_norm_eps=1e-5,
        projection_std=0.02,
        seed=0,
        first_stream=0,
        rng=None,
        dtype=np.float32,
    ):
        super().__init__()
        rng = np.random.default_rng(rng)
        self.attention_norm = LayerNorm(d_model, layer_norm_eps, bias, dtype)
        self.attention = MultiHeadAttention(
            d_model, n_heads, dropout, bias, projection_std, seed, first_stream, rng, dtype
        )
        self.attention_dropout = Dropout(dropout, seed, first_stream + 1)
        self.feed_forward_norm = LayerNorm(d_model, layer_norm_eps, bias, dtype)
        self.feed_forward = FeedForward(
            d_model, d_ff, bias, projection_std=projection_std, rng=rng, dtype=dtype
        )
        self.feed_forward_dropout = Dropout(dropout, seed, first_stream + 2)

    def forward(self, x):
        """Map (batch, time, d_model) to the same shape."""
        branch = self.attention.forward(self.attention_norm.forward(x))
        x = self.tap("residual_middle", self.attention_dropout.forward_add(x, branch))

        branch = self.feed_forward.forward(self.feed_forward_norm.forward(x))
        return self.tap("residual", self.feed_forward_dropout.forward_add(x, branch))

    def backward(self, dy):
        """Add to all gradients inside; return that of ``x``, (batch, time, d_model)."""
        dy = self.tap_grad("residual", dy)
        dbranch = self.feed_forward.backward(self.feed_forward_dropout.backward(dy))
        dx = self.feed_forward_norm.backward(dbranch, dshortcut=dy)

        dx = self.tap_grad("residual_middle", dx)
        dbranch = self.attention.backward(self.attention_dropout.backward(dx))
        return self.attention_norm.backward(dbranch, dshortcut=dx)
