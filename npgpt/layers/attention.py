"""Causal multi-head self-attention."""

import math

import numpy as np

from npgpt import ops
from npgpt.layers.core.layer import Layer
from npgpt.layers.dropout import Dropout
from npgpt.layers.linear import Linear
from npgpt.layers.states import KeyValueCache
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
    n_kv_heads : int, optional
        Heads of keys and values; each is shared by ``n_heads / n_kv_heads`` heads of queries
        (grouped-query attention, Ainslie et al. 2023, arXiv 2305.13245; with 1 multi-query
        attention, Shazeer 2019, arXiv 1911.02150). As many as heads by default.
    window : int, optional
        How many positions a query sees, itself and those before it (Beltagy et al. 2020, arXiv
        2004.05150); all of the past by default.
    qkv_bias : bool, optional
        Whether the first map has biases; as ``bias`` by default.
    scale : bool
        Whether scores are divided by ``sqrt(head_size)``.
    rotary : RotaryEmbedding, optional
        Turns queries and keys by their positions.
    position_bias : ALiBi or RelativePositionBias, optional
        Added to the scores, by distance.

    Raises
    ------
    ValueError
        If heads do not divide, or the window is below 1.

    Notes
    -----
    Taps, in the order of the forward pass: ``q``, ``k``, ``v``, with a rotary embedding
    ``q_rotated`` and ``k_rotated``, ``scores`` (``-inf`` where a query may not look), ``weights``
    (after dropout), ``context``, each (batch, heads, time, ...), and ``output``, (batch, time,
    d_model). Scores and weights exist only while somebody listens to them: otherwise one fused
    operation goes from q, k, v to the context.
    """

    TAPS: tuple[str, ...] = ("q", "k", "v", "scores", "weights", "context", "output")
    ROTARY_TAPS = ("q", "k", "v", "q_rotated", "k_rotated", *TAPS[3:])

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
        n_kv_heads=None,
        window=None,
        qkv_bias=None,
        scale=True,
        rotary=None,
        position_bias=None,
    ):
        super().__init__()
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        check_heads(type(self).__name__, d_model, n_heads, n_kv_heads, window)
        rng = np.random.default_rng(rng)
        self.d_model, self.n_heads, self.head_size = d_model, n_heads, d_model // n_heads
        self.n_kv_heads, self.window = n_kv_heads, window
        self.scale = 1.0 / math.sqrt(self.head_size) if scale else 1.0
        d_qkv = (n_heads + 2 * n_kv_heads) * self.head_size
        qkv_bias = bias if qkv_bias is None else qkv_bias
        self.qkv = Linear(d_model, d_qkv, qkv_bias, rng=rng, dtype=dtype)
        self.rotary, self.position_bias = rotary, position_bias
        self.cache: KeyValueCache | None = None  # while a model generates
        if rotary is not None:
            self.TAPS = self.ROTARY_TAPS
        self.dropout = Dropout(dropout, seed, stream)
        self.projection = Linear(d_model, d_model, bias, projection_std, rng=rng, dtype=dtype)

    def forward(self, x):
        """Map (batch, time, d_model) to the same shape; position t sees positions up to t."""
        if x.ndim != 3 or x.shape[-1] != self.d_model:
            raise ValueError(
                f"{self._where()}: expected an input of shape (batch, time, {self.d_model}), "
                f"got {x.shape}."
            )
        q, k, v = self._split_heads(self.qkv.forward(x))
        q, k, v = self.tap("q", q), self.tap("k", k), self.tap("v", v)
        if self.rotary is not None:
            q, k = self._rotate(q, k)
        keys = k.shape[2]
        if self.cache is not None:
            if self.cache.lengths is None:
                self.cache.fill(k, v)
            else:
                keys = int(self.cache.lengths.max())
        bias = None
        if self.position_bias is not None:
            bias = self.position_bias.forward(keys, x.dtype)
        if self.cache is not None and self.cache.lengths is not None:
            context = self.cache.attend(q, k, v, self.scale, self.window, bias)
        elif self.is_listened_to("scores", "weights"):
            context = self._attend_in_steps(q, k, v, bias)
        else:
            context = self._attend_fused(q, k, v, bias)
        context = self.tap("context", context)
        return self.tap("output", self.projection.forward(self._join_heads(context)))

    def backward(self, dy):
        """Add to all gradients inside; return that of ``x``, (batch, time, d_model)."""
        in_steps, bias, *saved = self._recall()
        dy = self.tap_grad("output", dy)
        dcontext = self._separate_heads(self.projection.backward(dy))
        dcontext = self.tap_grad("context", dcontext)
        batch, _, time, _ = dcontext.shape
        dqkv = ops.empty((batch, time, self.qkv.d_out), dcontext.dtype)
        parts = self._split_heads(dqkv)
        dbias = np.zeros_like(bias) if bias is not None and self.position_bias.learned else None
        if in_steps:
            dq, dk, dv = self._attend_in_steps_backward(dcontext, dbias, *saved)
        else:
            dq, dk, dv = self._attend_fused_backward(parts, dcontext, bias, dbias, *saved)
        if dbias is not None:
            self.position_bias.backward(dbias)
        if self.rotary is not None:
            dq, dk = self._rotate_backward(dq, dk)
        for name, part, gradient in zip("qkv", parts, (dq, dk, dv), strict=True):
            gradient = self.tap_grad(name, gradient)
            if gradient is not part:
                part[...] = gradient
        return self.qkv.backward(dqkv)

    # --- the attention core: fused, or in steps that can be listened to ------------------------

    def _attend_fused(self, q, k, v, bias):
        p = self.dropout.active_p()
        key = self.dropout.next_key() if p > 0.0 else None
        mask = ops.Mask(window=self.window)
        context, lse = ops.attention_forward(
            q, k, v, scale=self.scale, mask=mask, p=p, key=key, bias=bias
        )
        self.saved = False, bias, q, k, v, context, lse, mask, p, key
        return context

    def _attend_fused_backward(self, out, dcontext, bias, dbias, *saved):
        q, k, v, context, lse, mask, p, key = saved
        return ops.attention_backward(
            dcontext, q, k, v, context, lse, scale=self.scale, mask=mask, p=p, key=key, bias=bias,
            dbias=dbias, out=out,
        )  # fmt: skip

    def _attend_in_steps(self, q, k, v, bias):
        scores = reference.scores_forward(q, k, scale=self.scale, mask=ops.Mask(window=self.window))
        if bias is not None:
            scores = reference.distance_bias_forward(scores, bias)
        softmax = reference.softmax_forward(self.tap("scores", scores))
        weights = self.tap("weights", self.dropout.forward(softmax))
        self.saved = True, bias, q, k, v, softmax, weights
        return reference.weighted_sum_forward(weights, v)

    def _attend_in_steps_backward(self, dcontext, dbias, q, k, v, softmax, weights):
        dweights, dv = reference.weighted_sum_backward(dcontext, weights, v)
        dsoftmax = self.dropout.backward(self.tap_grad("weights", dweights))
        dscores = self.tap_grad("scores", reference.softmax_backward(dsoftmax, softmax))
        if dbias is not None:
            reference.distance_bias_backward(dscores, dbias)
        dq, dk = reference.scores_backward(dscores, q, k, scale=self.scale)
        return dq, dk, dv

    # --- positions ----------------------------------------------------------------------------

    def _rotate(self, q, k):
        # in place, unless somebody who listens may have kept q and k
        listening = self.listener is not None
        if self.cache is not None and self.cache.lengths is not None:
            places = self.cache.lengths - 1
            q, k = (self.rotary.forward_at(x, places) for x in (q, k))
            return self.tap("q_rotated", q), self.tap("k_rotated", k)
        q, k = (self.rotary.forward(x, out=None if listening else x) for x in (q, k))
        return self.tap("q_rotated", q), self.tap("k_rotated", k)

    def _rotate_backward(self, dq, dk):
        dq, dk = self.tap_grad("q_rotated", dq), self.tap_grad("k_rotated", dk)
        listening = self.listener is not None
        return (self.rotary.backward(dx, out=None if listening else dx) for dx in (dq, dk))

    # --- heads --------------------------------------------------------------------------------

    def _split_heads(self, qkv):
        # (batch, time, d_qkv) -> views (batch, heads, time, head_size) of q, k and v
        batch, time, _ = qkv.shape
        heads = qkv.reshape(batch, time, -1, self.head_size).transpose(0, 2, 1, 3)
        first_v = self.n_heads + self.n_kv_heads
        return heads[:, : self.n_heads], heads[:, self.n_heads : first_v], heads[:, first_v:]

    def _join_heads(self, context):
        # (batch, heads, time, head_size) -> (batch, time, d_model)
        batch, _, time, _ = context.shape
        return context.transpose(0, 2, 1, 3).reshape(batch, time, self.d_model)

    def _separate_heads(self, dy):
        # mirrors _join_heads: (batch, time, d_model) -> (batch, heads, time, head_size)
        batch, time, _ = dy.shape
        return dy.reshape(batch, time, self.n_heads, self.head_size).transpose(0, 2, 1, 3)


def check_heads(what, d_model, n_heads, n_kv_heads, window):
    """Raise ValueError, in the name of ``what``, if attention of these numbers cannot be."""
    if n_heads < 1 or d_model % n_heads:
        raise ValueError(
            f"{what}: n_heads must divide d_model, got d_model {d_model} and n_heads {n_heads}."
        )
    if n_kv_heads > n_heads:
        raise ValueError(
            f"{what}: there must not be more key and value heads than query heads, got n_kv_heads "
            f"{n_kv_heads} and n_heads {n_heads}."
        )
    if n_kv_heads < 1 or n_heads % n_kv_heads:
        raise ValueError(
            f"{what}: n_kv_heads must divide n_heads, got n_kv_heads {n_kv_heads} and n_heads "
            f"{n_heads}."
        )
    if window is not None and window < 1:
        raise ValueError(
            f"{what}: window must be at least 1, so that a position sees itself, got {window}."
        )
