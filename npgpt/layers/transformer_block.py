"""The Transformer block."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from npgpt import ops
from npgpt.fields import short_repr
from npgpt.layers.attention import Gradients, MultiHeadAttention
from npgpt.layers.block_config import BlockConfig, check_config
from npgpt.layers.core.init import Init
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter
from npgpt.layers.core.progress import Progress
from npgpt.layers.dropout import add_dropped
from npgpt.layers.feed_forward import FeedForward
from npgpt.layers.norms import NORMS, norm_backward
from npgpt.layers.states import KeyValueCache, WithMemory
from npgpt.ops import Mask
from npgpt.ops.array import Array

BlockState = KeyValueCache | WithMemory  # with the memory, of a block that attends to one


def new_norm(config: BlockConfig, init: Init, name: str | None = None) -> Layer:
    """Make a norm as the config chooses, or one of another name of `NORMS`.

    Parameters
    ----------
    config : BlockConfig
    init : Init
    name : str, optional
    """
    make = NORMS[name or config.norm]
    return make(config.d_model, config.layer_norm_eps, config.bias, init.dtype)


class TransformerBlock(Layer):
    """Attention and feed-forward, each with a norm and a shortcut.

    Pre-norm, as GPT-2 (Radford et al. 2019, section 2.3):
    ``x = x + dropout(attention(attention_norm(x)))``, then
    ``x = x + dropout(feed_forward(feed_forward_norm(x)))``.

    Post-norm, as the first Transformer (Vaswani et al. 2017, section 3.1):
    ``x = attention_norm(x + dropout(attention(x)))``, then
    ``x = feed_forward_norm(x + dropout(feed_forward(x)))``.

    A block of a decoder has one more branch between the two, of the same form, which attends to
    what the encoder made: ``cross_attention(x, memory)``.

    Parameters
    ----------
    config : BlockConfig
    init : Init, optional
    cross : bool
        Whether the block attends to a memory too.
    tied_to : Parameter, optional
        As for `MultiHeadAttention`.

    Notes
    -----
    Taps: ``residual_middle`` (after attention), with ``cross`` ``residual_cross`` (after the
    attention to the memory), ``residual`` (the output).

    Any part may be replaced by a layer that has no more than ``forward(x)`` and ``backward(dy)``.
    """

    IN_STEPS = True
    TAPS: tuple[str, ...] = ("residual_middle", "residual")
    CROSS_TAPS = ("residual_middle", "residual_cross", "residual")

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
        self.norm_position, self.shortcut = config.norm_position, config.shortcut
        self.attention_norm = new_norm(config, init)
        self.attention = MultiHeadAttention(config, init, tied_to=tied_to)
        self.attention_dropout = init.dropout(config.dropout)
        self.cross_attention: MultiHeadAttention | None = None
        if cross:
            self.TAPS = self.CROSS_TAPS
            self.cross_attention_norm = new_norm(config, init)
            self.cross_attention = MultiHeadAttention(config, init, cross=True)
            self.cross_attention_dropout = init.dropout(config.dropout)
        self.feed_forward_norm = new_norm(config, init)
        self.feed_forward = FeedForward(config, init)
        self.feed_forward_dropout = init.dropout(config.dropout)

    def forward(
        self,
        x: Array,
        memory: Array | None = None,
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
        state: BlockState | None = None,
    ) -> Array:
        """Map (batch, time, d_model) to the same shape.

        Parameters
        ----------
        x : ndarray, shape (batch, time, d_model)
        memory : ndarray, shape (batch, keys, d_model), optional
        mask, memory_mask : Mask, optional
            Of the attention to ``x``, and of that to the memory.
        state : KeyValueCache or WithMemory, optional
            As for `MultiHeadAttention.forward`. One that holds a memory stands for it.
        """
        is_given = memory is not None or (isinstance(state, WithMemory) and state.memory != ())
        if is_given != (self.cross_attention is not None):
            raise ValueError(
                f"{self._where()}: a block with cross=True takes a memory, and no other does."
            )
        half = self._forward_post if self.norm_position == "post" else self._forward_pre
        return half(x, memory, mask, memory_mask, state)

    def backward(self, dy: Array) -> Gradients:
        """Add to all gradients inside; return that of ``x``, or of ``x`` and the memory."""
        return self._backward_post(dy) if self.norm_position == "post" else self._backward_pre(dy)

    # --- the norm before each branch ------------------------------------------------------------

    def _forward_pre(
        self,
        x: Array,
        memory: Array | None,
        mask: Mask | None,
        memory_mask: Mask | None,
        state: BlockState | None,
    ) -> Array:
        branch = self._attend(self.attention_norm.forward(x), mask, state)
        x = self.tap("residual_middle", self._join(self.attention_dropout, x, branch))

        if self.cross_attention is not None:
            normed = self.cross_attention_norm.forward(x)
            branch = self._attend_across(normed, memory, memory_mask, state)
            x = self.tap("residual_cross", self._join(self.cross_attention_dropout, x, branch))

        branch = self.feed_forward.forward(self.feed_forward_norm.forward(x))
        return self.tap("residual", self._join(self.feed_forward_dropout, x, branch))

    def _backward_pre(self, dy: Array) -> Gradients:
        dy = self.tap_grad("residual", dy)
        dbranch = self.feed_forward.backward(self.feed_forward_dropout.backward(dy))
        dx = norm_backward(self.feed_forward_norm, dbranch, dshortcut=self._round(dy))

        if self.cross_attention is not None:
            dx = self.tap_grad("residual_cross", dx)
            dbranch = self.cross_attention_dropout.backward(dx)
            dbranch, dmemory = self.cross_attention.backward(dbranch)
            dx = norm_backward(self.cross_attention_norm, dbranch, dshortcut=self._round(dx))

        dx = self.tap_grad("residual_middle", dx)
        dbranch = cast(Array, self.attention.backward(self.attention_dropout.backward(dx)))
        dx = norm_backward(self.attention_norm, dbranch, dshortcut=self._round(dx))
        return dx if self.cross_attention is None else (dx, dmemory)

    # --- the norm after each shortcut -------------------------------------------------------------

    def _forward_post(
        self,
        x: Array,
        memory: Array | None,
        mask: Mask | None,
        memory_mask: Mask | None,
        state: BlockState | None,
    ) -> Array:
        branch = self._attend(x, mask, state)
        x = self._join(self.attention_dropout, x, branch)
        x = self.tap("residual_middle", self.attention_norm.forward(x))

        if self.cross_attention is not None:
            branch = self._attend_across(x, memory, memory_mask, state)
            x = self._join(self.cross_attention_dropout, x, branch)
            x = self.tap("residual_cross", self.cross_attention_norm.forward(x))

        x = self._join(self.feed_forward_dropout, x, self.feed_forward.forward(x))
        return self.tap("residual", self.feed_forward_norm.forward(x))

    def _backward_post(self, dy: Array) -> Gradients:
        dx = self.feed_forward_norm.backward(self.tap_grad("residual", dy))
        dbranch = self.feed_forward.backward(self.feed_forward_dropout.backward(dx))
        dx = self._sum(self._round(dx), dbranch)

        if self.cross_attention is not None:
            dx = self.cross_attention_norm.backward(self.tap_grad("residual_cross", dx))
            dbranch = self.cross_attention_dropout.backward(dx)
            dbranch, dmemory = self.cross_attention.backward(dbranch)
            dx = self._sum(self._round(dx), dbranch)

        dx = self.attention_norm.backward(self.tap_grad("residual_middle", dx))
        dbranch = cast(Array, self.attention.backward(self.attention_dropout.backward(dx)))
        dx = self._sum(self._round(dx), dbranch)
        return dx if self.cross_attention is None else (dx, dmemory)

    # --- attention, of which a plain layer in its place knows only the input ----------------------

    def _attend(self, x: Array, mask: Mask | None, state: BlockState | None) -> Array:
        named: dict[str, Any] = {} if mask is None else {"mask": mask}
        if state is not None and self.attention.takes_state:
            named["state"] = state.own if isinstance(state, WithMemory) else state
        return self.attention.forward(x, **named)

    def _attend_across(
        self, x: Array, memory: Array | None, mask: Mask | None, state: BlockState | None
    ) -> Array:
        assert self.cross_attention is not None
        if isinstance(state, WithMemory):
            return self.cross_attention.forward(x, memory, mask, state)
        if mask is None:
            return self.cross_attention.forward(x, memory)
        return self.cross_attention.forward(x, memory, mask)

    # --- shortcuts ------------------------------------------------------------------------------

    def _join(self, dropout: Layer, x: Array, branch: Array) -> Array:
        return add_dropped(dropout, x, branch) if self.shortcut else dropout.forward(branch)

    def _round(self, dy: Array) -> Array | None:
        # the gradient that goes round the branch
        return dy if self.shortcut else None

    def _sum(self, dshortcut: Array | None, dbranch: Array) -> Array:
        if dshortcut is None:
            return dbranch
        return ops.add(dshortcut, dbranch)


class Begun(NamedTuple):
    """What `RecomputingBlock` keeps: where its layers stood, and what forward was given."""

    progress: Progress
    x: Array
    memory: Array | None
    mask: Mask | None
    memory_mask: Mask | None

    def __repr__(self) -> str:
        return short_repr(self)


class RecomputingBlock(TransformerBlock):
    """A `TransformerBlock` that keeps only its input for backward, which runs forward once more.

    Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): the block's own arrays, about 16
    times its input, exist only while its backward runs. All numbers are the same bit for bit;
    dropout draws the same masks, because they depend on nothing but seed, stream and step, and a
    layer that draws from a generator of its own finds it as it was.

    Notes
    -----
    A listener hears the forward pass of the block twice.
    """

    def forward(
        self,
        x: Array,
        memory: Array | None = None,
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
        state: BlockState | None = None,
    ) -> Array:
        """Map (batch, time, d_model) to the same shape.

        Parameters
        ----------
        x, memory, mask, memory_mask, state
            As for `TransformerBlock.forward`.
        """
        progress = Progress(self)
        y = super().forward(x, memory, mask, memory_mask, state)
        self._forget_inside()
        self.keep(Begun(progress, x, memory, mask, memory_mask))
        return y

    def backward(self, dy: Array) -> Gradients:
        """Add to all gradients inside; return that of ``x``, or of ``x`` and the memory."""
        progress, x, *others = self.recall()
        self._check_dy(dy, x.shape)
        later = Progress(self)
        progress.restore()
        super().forward(x, *others)
        later.restore()
        gradients = super().backward(dy)
        self._forget_inside()
        return gradients

    def _forget_inside(self) -> None:
        for _, layer in self.children():
            layer.forget()
