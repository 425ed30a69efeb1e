"""Causal multi-head self-attention."""

import math

import numpy as np

from npgpt import ops
from npgpt.layers.base import Layer
from npgpt.layers.dropout import Dropout
from npgpt.layers.linear import Linear
from npgpt.ops import reference


class MultiHeadAttention(Layer):
    """Causal multi-head self-attention (Vaswani et al. 2017, arXiv 1706.03762, section 3.2.2).

    ``q, k, v = split(x W_qkv^T + b_qkv)``; in each head
    ``context = dropout(softmax(mask(q k^T / sqrt(head_size)))) v``;
    ``y = concat(contexts) W_projection^T + b_projection``.

    Parameters
    ----------
    d_model, n_heads : int
        ``n_heads`` must divide ``d_model``; ``head_size = d_model / n_heads``.
    dropout : float
        Probability of dropping an attention weight.
    bias : bool
        Whether both linear maps have biases.
    projection_std : float
        Standard deviation of the output projection's start.
    seed, stream : int
        Of the dropout masks.
    rng, dtype
        As for `Linear`.

    Notes
    -----
    Taps, in the order of the forward pass: ``q``, ``k``, ``v``, ``scores`` (``-inf`` in the
    future), ``weights`` (after dropout), ``context``, each (batch, heads, time, ...), and
    ``output``, (batch, time, d_model). Scores and weights exist only while somebody listens to
    them: otherwise one fused operation goes from q, k, v to the context.
    """

    TAPS = ("q", "k", "v", "scores", "weights", "context", "output")

    def __init__(
        self,
        d_model,
        n_heads,
        dropout=0.0,
        bias=True,
        projection_std=0.02,
        seed=0,
        stream=0,
        rng=None,
        dtype=np.float32,
    ):
        super().__init__()
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(
                f"MultiHeadAttention: n_heads must divide d_model, got d_model {d_model} and "
                f"n_heads {n_heads}."
            )
        rng = np.random.default_rng(rng)
        self.d_model, self.n_heads, self.head_size = d_model, n_heads, d_model // n_heads
        self.scale = 1.0 / math.sqrt(self.head_size)
        self.qkv = Linear(d_model, 3 * d_model, bias, rng=rng, dtype=dtype)
        self.dropout = Dropout(dropout, seed, stream)
        self.projection = Linear(d_model, d_model, bias, projection_std, rng=rng, dtype=dtype)

    def forward(self, x):
        """Map (batch, time, d_model) to the same shape; position t sees positions 0 to t."""
        if x.ndim != 3 or x.shape[-1] != self.d_model:
            raise ValueError(
                f"{self._where()}: expected an input of shape (batch, time, {self.d_model}), "
                f"got {x.shape}."
            )
        q, k, v = self._split_heads(self.qkv.forward(x))
        q, k, v = self.tap("q", q), self.tap("k", k), self.tap("v", v)
        if self.is_listened_to("scores", "weights"):
            context = self._attend_in_steps(q, k, v)
        else:
            context = self._attend_fused(q, k, v)
        context = self.tap("context", context)
        return self.tap("output", self.projection.forward(self._join_heads(context)))

    def backward(self, dy):
        """Add to the gradients of both maps; return that of ``x``, (batch, time, d_model)."""
        in_steps, *saved = self._recall()
        dy = self.tap_grad("output", dy)
        dcontext = self._separate_heads(self.projection.backward(dy))
        dcontext = self.tap_grad("context", dcontext)
        batch, _, time, _ = dcontext.shape
        dqkv = ops.empty((batch, time, 3 * self.d_model), dcontext.dtype)
        parts = self._split_heads(dqkv)
        if in_steps:
            gradients = self._attend_in_steps_backward(dcontext, *saved)
        else:
            gradients = self._attend_fused_backward(parts, dcontext, *saved)
        for name, part, gradient in zip("qkv", parts, gradients, strict=True):
            gradient = self.tap_grad(name, gradient)
            if gradient is not part:
                part[...] = gradient
        return self.qkv.backward(dqkv)

    # --- the attention core: fused, or in steps that can be listened to ------------------------

    def _attend_fused(self, q, k, v):
        p = self.dropout.active_p()
        key = self.dropout.next_key() if p > 0.0 else None
        context, lse = ops.attention_forward(q, k, v, self.scale, p, key)
        self.saved = False, q, k, v, context, lse, p, key
        return context

    def _attend_fused_backward(self, out, dcontext, q, k, v, context, lse, p, key):
        return ops.attention_backward(dcontext, q, k, v, context, lse, self.scale, p, key, out)

    def _attend_in_steps(self, q, k, v):
        scores = self.tap("scores", reference.causal_scores_forward(q, k, self.scale))
        softmax = reference.softmax_forward(scores)
        weights = self.tap("weights", self.dropout.forward(softmax))
        self.saved = True, q, k, v, softmax, weights
        return reference.weighted_sum_forward(weights, v)

    def _attend_in_steps_backward(self, dcontext, q, k, v, softmax, weights):
        dweights, dv = reference.weighted_sum_backward(dcontext, weights, v)
        dsoftmax = self.dropout.backward(self.tap_grad("weights", dweights))
        dscores = self.tap_grad("scores", reference.softmax_backward(dsoftmax, softmax))
        dq, dk = reference.causal_scores_backward(dscores, q, k, self.scale)
        return dq, dk, dv

    # --- heads --------------------------------------------------------------------------------

    def _split_heads(self, qkv):
        # (batch, time, 3 * d_model) -> 3 views (batch, heads, time, head_size)
        batch, time, _ = qkv.shape
        heads = qkv.reshape(batch, time, 3, self.n_heads, self.head_size)
        return tuple(heads.transpose(2, 0, 3, 1, 4))

    def _join_heads(self, context):
        # (batch, heads, time, head_size) -> (batch, time, d_model)
        batch, _, time, _ = context.shape
        return context.transpose(0, 2, 1, 3).reshape(batch, time, self.d_model)

    def _separate_heads(self, dy):
        # mirrors _join_heads: (batch, time, d_model) -> (batch, heads, time, head_size)
        batch, time, _ = dy.shape
        return dy.reshape(batch, time, self.n_heads, self.head_size).transpose(0, 2, 1, 3)
