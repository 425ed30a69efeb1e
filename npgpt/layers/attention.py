"""Multi-head attention: to itself, or to another sequence."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from npgpt import ops
from npgpt.fields import short_repr
from npgpt.layers.block_config import BlockConfig, check_config
from npgpt.layers.core.init import Init
from npgpt.layers.core.layer import Layer, does_as
from npgpt.layers.core.parameter import Parameter
from npgpt.layers.dropout import is_plain
from npgpt.layers.linear import Linear
from npgpt.layers.lora import LoRALinear
from npgpt.layers.position_bias import ALiBi, RelativePositionBias, position_bias
from npgpt.layers.positions import RotaryEmbedding
from npgpt.layers.quantized import QuantizedLinear
from npgpt.layers.states import KeyValueCache, WithMemory
from npgpt.ops import Mask, reference
from npgpt.ops.array import Array

Gradients = Array | tuple[Array, Array]  # of x, or of x and of the memory

FRESH = (Linear, LoRALinear, QuantizedLinear)  # keep nothing of what they return


class MultiHeadAttention(Layer):
    """Multi-head attention (Vaswani et al. 2017, arXiv 1706.03762, section 3.2.2).

    ``q, k, v = split(x W_qkv^T + b_qkv)``; in each head
    ``context = dropout(softmax(mask(q k^T / sqrt(head_size)))) v``;
    ``y = concat(contexts) W_projection^T + b_projection``.

    With ``cross`` the queries come from ``x`` and keys and values from another sequence, the
    memory: ``q = x W_q^T + b_q``, ``k, v = split(memory W_kv^T + b_kv)``. Positions of the two
    have no distance, so neither rotary embedding nor bias applies.

    Parameters
    ----------
    config : BlockConfig
        Of it: ``d_model``, ``n_heads``, ``n_kv_heads`` (grouped queries, Ainslie et al. 2023, arXiv
        2305.13245; with 1 multi-query attention, Shazeer 2019, arXiv 1911.02150), ``window``
        (Beltagy et al. 2020, arXiv 2004.05150), ``dropout`` of the attention weights, ``bias``,
        ``qkv_bias``, ``scale_scores``, and the positions that act inside attention.
    init : Init, optional
    cross : bool
        Whether the layer attends to a memory.
    tied_to : Parameter, optional
        The weight of another block's T5 bias, which this one then shares.

    Notes
    -----
    Taps, in the order of the forward pass: ``q``, ``k``, ``v``, with a rotary embedding
    ``q_rotated`` and ``k_rotated``, ``scores`` (``-inf`` where a query may not look), ``weights``
    (after dropout), ``context``, each (batch, heads, time, ...), and ``output``, (batch, time,
    d_model). Scores and weights exist only while somebody listens to them: otherwise one fused
    operation goes from q, k, v to the context.
    """

    IN_STEPS = True
    TAPS: tuple[str, ...] = ("q", "k", "v", "scores", "weights", "context", "output")
    ROTARY_TAPS = ("q", "k", "v", "q_rotated", "k_rotated", *TAPS[3:])

    def __init__(
        self,
        config: BlockConfig,
        init: Init | None = None,
        cross: bool = False,
        tied_to: Parameter | None = None,
    ):
        super().__init__()
        check_config(config, self)
        init = init or Init()
        self.d_model, self.head_size = config.d_model, config.head_size
        self.n_heads, self.n_kv_heads = config.n_heads, config.num_kv_heads
        self.causal, self.window = config.causal, config.window
        self.scale = 1.0 / math.sqrt(self.head_size) if config.scale_scores else 1.0
        bias = None if cross else position_bias(config, init, tied_to)
        d_kv = 2 * self.n_kv_heads * self.head_size
        qkv_bias = config.bias if config.qkv_bias is None else config.qkv_bias
        rest = qkv_bias, config.initial_std, init.rng, init.dtype
        if cross:
            self.q = Linear(self.d_model, self.d_model, *rest)
            self.kv = Linear(self.d_model, d_kv, *rest)
        else:
            self.qkv = Linear(self.d_model, self.d_model + d_kv, *rest)
        self.cross = cross
        self.rotary: RotaryEmbedding | None = None
        if config.position == "rope" and not cross:
            self.rotary = RotaryEmbedding(self.head_size, config.rope_theta)
            self.TAPS = self.ROTARY_TAPS
        self.position_bias: ALiBi | RelativePositionBias | None = bias
        self.dropout = init.dropout(config.dropout)
        self.projection = Linear(
            self.d_model, self.d_model, config.bias, config.projection_std, init.rng, init.dtype
        )

    def forward(
        self,
        x: Array,
        memory: Array | None = None,
        mask: Mask | None = None,
        state: KeyValueCache | WithMemory | None = None,
    ) -> Array:
        """Map (batch, time, d_model) to the same shape.

        Parameters
        ----------
        x : ndarray, shape (batch, time, d_model)
        memory : ndarray, shape (batch, keys, d_model), optional
            What a layer with ``cross`` attends to.
        mask : Mask, optional
            By default all of a memory is seen, and of ``x`` what the config says: with a causal
            one position t sees positions up to t.
        state : KeyValueCache, optional
            Keys and values of the positions before ``x``, to which those of ``x`` are added: of a
            whole beginning, or of one position of each sequence. With ``cross`` a `WithMemory`,
            which keeps the keys and values of the memory, so that it is given once. No backward
            follows.
        """
        if isinstance(state, WithMemory):
            return self._look_back(x, memory, mask, state)
        self._check(x, memory)
        q, k, v = self._project(x, memory)
        q, k, v = self.tap("q", q), self.tap("k", k), self.tap("v", v)
        places = state.lengths.copy() if state is not None and state.lengths.any() else None
        if self.rotary is not None:
            q, k = self._rotate(self.rotary, q, k, places)
        keys = k.shape[2]
        if state is not None:
            state.append(k, v)
            keys = keys if places is None else int(state.lengths.max())
        if mask is None:
            mask = Mask(False) if self.cross else Mask(self.causal, self.window)
        bias = None
        if self.position_bias is not None:
            time = 1 if mask.causal else q.shape[2]
            bias = self.position_bias.forward(keys, x.dtype, time)
        if state is not None and places is not None:
            context = state.attend(q, self.scale, mask.window, bias)
        elif self.is_listened_to("scores", "weights") or not is_plain(self.dropout):
            context = self._attend_in_steps(q, k, v, mask, bias)
        else:
            context = self._attend_fused(q, k, v, mask, bias)
        context = self.tap("context", context)
        return self.tap("output", self.projection.forward(self._join_heads(context)))

    def backward(self, dy: Array) -> Gradients:
        """Add to all gradients inside; return that of ``x``, or of ``x`` and the memory."""
        saved = self.recall()
        dy = self.tap_grad("output", dy)
        dcontext = self._split_heads(self.projection.backward(dy))
        dcontext = self.tap_grad("context", dcontext)
        projected, parts = self._empty_projections(saved)
        dbias = None
        if self.position_bias is not None and type(self.position_bias) is not ALiBi:
            dbias = np.zeros_like(saved.bias)
        if isinstance(saved, InSteps):
            dq, dk, dv = self._attend_in_steps_backward(dcontext, dbias, saved)
        else:
            dq, dk, dv = self._attend_fused_backward(dcontext, dbias, saved, parts)
        if self.position_bias is not None and dbias is not None:
            self.position_bias.backward(dbias)
        if self.rotary is not None:
            dq, dk = self._rotate_backward(self.rotary, dq, dk)
        for name, part, gradient in zip("qkv", parts, (dq, dk, dv), strict=True):
            gradient = self.tap_grad(name, gradient)
            if gradient is not part:
                part[...] = gradient
        return self._project_backward(*projected)

    def _look_back(
        self, x: Array, memory: Array | None, mask: Mask | None, state: WithMemory
    ) -> Array:
        """Attend to a memory whose keys and values were made when it came, at the beginning."""
        if memory is not None:
            self._check(x, memory)
            k, v = map(
                np.ascontiguousarray, self._k_and_v(self._split_heads(self.kv.forward(memory)))
            )
            there = None if mask is None else mask.lengths
            there = np.full(len(x), memory.shape[1]) if there is None else there
            state.memory = self.tap("k", k), self.tap("v", v), there
        k, v, lengths = state.memory
        q = self.tap("q", self._split_heads(self.q.forward(x)))
        if x.shape[1] == 1:
            context = ops.cached_attention_forward(q, k, v, lengths, scale=self.scale)
        else:
            mask = Mask(False, lengths=lengths)
            context, _ = ops.attention_forward(q, k, v, scale=self.scale, mask=mask)
        context = self._join_heads(self.tap("context", context))
        return self.tap("output", self.projection.forward(context))

    # --- queries, keys and values ---------------------------------------------------------------

    def _check(self, x: Array, memory: Array | None) -> None:
        self._check_array(x)
        if memory is not None:
            self._check_array(memory, "the memory")
        if x.ndim != 3 or x.shape[-1] != self.d_model:
            raise ValueError(
                f"{self._where()}: expected an input of shape (batch, time, {self.d_model}), "
                f"got {x.shape}."
            )
        if (memory is not None) != self.cross:
            rule = "needs a memory to attend to" if self.cross else "takes no memory"
            raise ValueError(
                f"{self._where()}: a layer with cross={self.cross} {rule}; make it with "
                f"cross={not self.cross}."
            )
        if memory is not None and memory.shape != (len(x), *memory.shape[1:2], self.d_model):
            raise ValueError(
                f"{self._where()}: expected a memory of shape ({len(x)}, keys, {self.d_model}), "
                f"got {memory.shape}."
            )

    def _project(self, x: Array, memory: Array | None):
        if memory is not None:
            kv = self._split_heads(self.kv.forward(memory))
            return (self._split_heads(self.q.forward(x)), *self._k_and_v(kv))
        qkv = self._split_heads(self.qkv.forward(x))
        return (qkv[:, : self.n_heads], *self._k_and_v(qkv[:, self.n_heads :]))

    def _empty_projections(self, saved: Fused | InSteps):
        """Make the arrays that _project_backward reads, and views of them: dq, dk and dv."""
        (batch, _, time, _), keys, dtype = saved.q.shape, saved.k.shape[2], saved.q.dtype
        d_kv = 2 * self.n_kv_heads * self.head_size
        if self.cross:
            dq = ops.empty((batch, time, self.d_model), dtype)
            dkv = ops.empty((batch, keys, d_kv), dtype)
            return (dq, dkv), (self._split_heads(dq), *self._k_and_v(self._split_heads(dkv)))
        dqkv = ops.empty((batch, time, self.d_model + d_kv), dtype)
        heads = self._split_heads(dqkv)
        return (dqkv,), (heads[:, : self.n_heads], *self._k_and_v(heads[:, self.n_heads :]))

    def _project_backward(self, *projected: Array):
        if self.cross:
            dq, dkv = projected
            return self.q.backward(dq), self.kv.backward(dkv)
        return self.qkv.backward(*projected)

    # --- the attention core: fused, or in steps that can be listened to ------------------------

    def _attend_fused(self, q: Array, k: Array, v: Array, mask: Mask, bias: Array | None):
        p = self.dropout.active_p()
        key = self.dropout.next_key() if p > 0.0 else None
        context, lse = ops.attention_forward(
            q, k, v, scale=self.scale, mask=mask, p=p, key=key, bias=bias
        )
        self.keep(Fused(q, k, v, mask, bias, context, lse, p, key))
        return context

    def _attend_fused_backward(
        self, dcontext: Array, dbias: Array | None, saved: Fused, out: tuple[Array, Array, Array]
    ):
        q, k, v, mask, bias, context, lse, p, key = saved
        return ops.attention_backward(
            dcontext, q, k, v, context, lse,
            scale=self.scale, mask=mask, p=p, key=key, bias=bias, dbias=dbias, out=out,
        )  # fmt: skip

    def _attend_in_steps(self, q: Array, k: Array, v: Array, mask: Mask, bias: Array | None):
        scores = reference.scores_forward(q, k, scale=self.scale, mask=mask)
        if bias is not None:
            scores = reference.distance_bias_forward(scores, bias)
        softmax = reference.softmax_forward(self.tap("scores", scores))
        weights = self.tap("weights", self.dropout.forward(softmax))
        self.keep(InSteps(q, k, v, mask, bias, softmax, weights))
        return reference.weighted_sum_forward(weights, v)

    def _attend_in_steps_backward(self, dcontext: Array, dbias: Array | None, saved: InSteps):
        dweights, dv = reference.weighted_sum_backward(dcontext, saved.weights, saved.v)
        dsoftmax = self.dropout.backward(self.tap_grad("weights", dweights))
        dscores = self.tap_grad("scores", reference.softmax_backward(dsoftmax, saved.softmax))
        dscores = reference.distance_bias_backward(dscores, dbias=dbias)
        dq, dk = reference.scores_backward(dscores, saved.q, saved.k, scale=self.scale)
        return dq, dk, dv

    # --- positions ----------------------------------------------------------------------------

    def _rotate(
        self, rotary: RotaryEmbedding, q: Array, k: Array, places: Array | None
    ) -> tuple[Array, Array]:
        if places is not None:
            q, k = rotary.forward_at(q, places), rotary.forward_at(k, places)
        elif does_as(rotary, RotaryEmbedding):
            # in place, unless somebody who listens, or what made q and k, may have kept them
            kept = self.listener is not None or self.cross or type(self.qkv) not in FRESH
            q, k = (rotary.forward(x, out=None if kept else x) for x in (q, k))
        else:
            with rotary.unrolled():  # it is called twice, and may keep what it is called with
                q, k = rotary.forward(q), rotary.forward(k)
        return self.tap("q_rotated", q), self.tap("k_rotated", k)

    def _rotate_backward(
        self, rotary: RotaryEmbedding, dq: Array, dk: Array
    ) -> tuple[Array, Array]:
        dq, dk = self.tap_grad("q_rotated", dq), self.tap_grad("k_rotated", dk)
        if not does_as(rotary, RotaryEmbedding):
            dk = rotary.backward(dk)
            return rotary.backward(dq), dk
        listening = self.listener is not None
        dq, dk = (rotary.backward(dx, out=None if listening else dx) for dx in (dq, dk))
        return dq, dk

    # --- heads --------------------------------------------------------------------------------

    def _split_heads(self, x: Array) -> Array:
        # (batch, time, heads * head_size) -> view (batch, heads, time, head_size)
        batch, time, _ = x.shape
        return x.reshape(batch, time, -1, self.head_size).transpose(0, 2, 1, 3)

    def _join_heads(self, context: Array) -> Array:
        # mirrors _split_heads: (batch, heads, time, head_size) -> (batch, time, d_model)
        batch, _, time, _ = context.shape
        return context.transpose(0, 2, 1, 3).reshape(batch, time, self.d_model)

    def _k_and_v(self, kv: Array) -> tuple[Array, Array]:
        # (batch, 2 n_kv_heads, keys, head_size) -> its two halves
        return kv[:, : self.n_kv_heads], kv[:, self.n_kv_heads :]


class Fused(NamedTuple):
    """What `MultiHeadAttention` keeps of the fused operation."""

    q: Array
    k: Array
    v: Array
    mask: Mask
    bias: Array | None
    context: Array
    lse: Array
    p: float
    key: ops.DropoutKey | None

    def __repr__(self) -> str:
        return short_repr(self)


class InSteps(NamedTuple):
    """What `MultiHeadAttention` keeps of the steps that somebody listened to."""

    q: Array
    k: Array
    v: Array
    mask: Mask
    bias: Array | None
    softmax: Array
    weights: Array

    def __repr__(self) -> str:
        return short_repr(self)
