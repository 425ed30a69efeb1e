"""The Transformer block."""

import numpy as np

from npgpt import ops
from npgpt.layers.attention import MultiHeadAttention
from npgpt.layers.core.layer import Layer
from npgpt.layers.dropout import Dropout
from npgpt.layers.feed_forward import FeedForward
from npgpt.layers.norms import NORMS

NORM_POSITIONS = ("pre", "post")


class TransformerBlock(Layer):
    """Attention and feed-forward, each with a norm and a shortcut.

    Pre-norm, as GPT-2 (Radford et al. 2019, section 2.3):
    ``x = x + dropout(attention(attention_norm(x)))``, then
    ``x = x + dropout(feed_forward(feed_forward_norm(x)))``.

    Post-norm, as the first Transformer (Vaswani et al. 2017, section 3.1):
    ``x = attention_norm(x + dropout(attention(x)))``, then
    ``x = feed_forward_norm(x + dropout(feed_forward(x)))``.

    Parameters
    ----------
    d_model, n_heads : int
    d_ff : int, optional
        As for `FeedForward`.
    dropout : float
        For the attention weights and for both branches' outputs.
    bias : bool
    layer_norm_eps : float
        Of either norm.
    projection_std : float
        Standard deviation of the start of the two maps that write to the residual stream.
    seed, first_stream : int
        Of the three dropout layers, which take the streams ``first_stream``, ``+1`` and ``+2``.
    rng, dtype
        As for `Linear`.
    norm : {"layer", "rms", "none"}
    norm_position : {"pre", "post"}
    activation : {"gelu", "gelu_exact", "relu", "swiglu"}
        As for `FeedForward`.
    shortcut : bool
        Without shortcuts ``x +`` is left out, and all gradients go through the branches.
    **attention
        ``n_kv_heads``, ``window``, ``qkv_bias``, ``scale``, ``rotary`` and ``position_bias``, as
        for `MultiHeadAttention`.

    Raises
    ------
    ValueError
        If a choice does not exist, or attention cannot be made.

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
        norm="layer",
        norm_position="pre",
        activation="gelu",
        shortcut=True,
        **attention,
    ):
        super().__init__()
        for name, choice, known in (
            ("norm", norm, NORMS),
            ("norm_position", norm_position, NORM_POSITIONS),
        ):
            if choice not in known:
                raise ValueError(
                    f"TransformerBlock: {name} must be one of {', '.join(known)}, got {choice!r}."
                )
        rng = np.random.default_rng(rng)
        self.norm_position, self.shortcut = norm_position, shortcut
        self.attention_norm = NORMS[norm](d_model, layer_norm_eps, bias, dtype)
        self.attention = MultiHeadAttention(
            d_model, n_heads, dropout, bias, projection_std, seed, first_stream, rng, dtype,
            **attention,
        )  # fmt: skip
        self.attention_dropout = Dropout(dropout, seed, first_stream + 1)
        self.feed_forward_norm = NORMS[norm](d_model, layer_norm_eps, bias, dtype)
        self.feed_forward = FeedForward(
            d_model, d_ff, bias, activation, projection_std=projection_std, rng=rng, dtype=dtype
        )
        self.feed_forward_dropout = Dropout(dropout, seed, first_stream + 2)

    def forward(self, x):
        """Map (batch, time, d_model) to the same shape."""
        return self._forward_post(x) if self.norm_position == "post" else self._forward_pre(x)

    def backward(self, dy):
        """Add to all gradients inside; return that of ``x``, (batch, time, d_model)."""
        return self._backward_post(dy) if self.norm_position == "post" else self._backward_pre(dy)

    # --- the norm before each branch ------------------------------------------------------------

    def _forward_pre(self, x):
        branch = self.attention.forward(self.attention_norm.forward(x))
        x = self.tap("residual_middle", self._join(self.attention_dropout, x, branch))

        branch = self.feed_forward.forward(self.feed_forward_norm.forward(x))
        return self.tap("residual", self._join(self.feed_forward_dropout, x, branch))

    def _backward_pre(self, dy):
        dy = self.tap_grad("residual", dy)
        dbranch = self.feed_forward.backward(self.feed_forward_dropout.backward(dy))
        dx = self.feed_forward_norm.backward(dbranch, dshortcut=self._round(dy))

        dx = self.tap_grad("residual_middle", dx)
        dbranch = self.attention.backward(self.attention_dropout.backward(dx))
        return self.attention_norm.backward(dbranch, dshortcut=self._round(dx))

    # --- the norm after each shortcut -------------------------------------------------------------

    def _forward_post(self, x):
        x = self._join(self.attention_dropout, x, self.attention.forward(x))
        x = self.tap("residual_middle", self.attention_norm.forward(x))

        x = self._join(self.feed_forward_dropout, x, self.feed_forward.forward(x))
        return self.tap("residual", self.feed_forward_norm.forward(x))

    def _backward_post(self, dy):
        dx = self.feed_forward_norm.backward(self.tap_grad("residual", dy))
        dbranch = self.feed_forward.backward(self.feed_forward_dropout.backward(dx))
        dx = self._sum(self._round(dx), dbranch)

        dx = self.attention_norm.backward(self.tap_grad("residual_middle", dx))
        dbranch = self.attention.backward(self.attention_dropout.backward(dx))
        return self._sum(self._round(dx), dbranch)

    # --- shortcuts ------------------------------------------------------------------------------

    def _join(self, dropout, x, branch):
        return dropout.forward_add(x, branch) if self.shortcut else dropout.forward(branch)

    def _round(self, dy):
        # the gradient that goes round the branch
        return dy if self.shortcut else None

    def _sum(self, dshortcut, dbranch):
        if dshortcut is None:
            return dbranch
        return ops.dropout_add_forward(dshortcut, dbranch, 0.0, None)
