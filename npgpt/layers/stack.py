"""A stack of Transformer blocks with a norm behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from npgpt.layers.attention import Gradients
from npgpt.layers.block_config import BlockConfig, check_config
from npgpt.layers.core.init import Init
from npgpt.layers.core.layer import Layer
from npgpt.layers.position_bias import RelativePositionBias
from npgpt.layers.states import KeyValueCache, WithMemory
from npgpt.layers.transformer_block import (
    BlockState,
    RecomputingBlock,
    TransformerBlock,
    new_norm,
)
from npgpt.ops import Mask
from npgpt.ops.array import Array


class Stack(Layer):
    """``n_layers`` Transformer blocks, one after another, and the norm behind them.

    ``y = final_norm(block_n(... block_1(x)))``; post-norm blocks end with a norm of their own, and
    have none behind them.

    Parameters
    ----------
    config : BlockConfig
    init : Init, optional
    cross : bool
        Whether the blocks attend to a memory too, as a decoder's do to what the encoder made.
    recompute : bool
        Keep only each block's input for backward, which runs the block's forward again.

    Attributes
    ----------
    blocks : list of TransformerBlock
        With T5's positions they share one table of biases.
    final_norm : Layer
    """

    IN_STEPS = True

    def __init__(
        self,
        config: BlockConfig,
        init: Init | None = None,
        cross: bool = False,
        recompute: bool = False,
    ):
        super().__init__()
        check_config(config, self)
        init = init or Init()
        self.config, self.cross = config, cross
        block_class = RecomputingBlock if recompute else TransformerBlock
        self.blocks: list[TransformerBlock] = []
        shared = None
        for _ in range(config.n_layers):
            block = block_class(config, init, cross, shared)
            if isinstance(block.attention.position_bias, RelativePositionBias):
                shared = block.attention.position_bias.weight
            self.blocks.append(block)
        self.final_norm = new_norm(config, init, config.final_norm)

    def forward(
        self,
        x: Array,
        memory: Array | None = None,
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
        states: Sequence[BlockState] | None = None,
    ) -> Array:
        """Map (batch, time, d_model) to the same shape.

        Parameters
        ----------
        x : ndarray, shape (batch, time, d_model)
        memory : ndarray, shape (batch, keys, d_model), optional
        mask, memory_mask : Mask, optional
            As for `TransformerBlock.forward`.
        states : sequence of KeyValueCache or WithMemory, optional
            One a block, as `new_states` makes them; no backward follows. Once they hold the memory
            it need not be given.
        """
        named = {"memory": memory, "mask": mask, "memory_mask": memory_mask}
        given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        if states is None:
            for block in self.blocks:
                x = block.forward(x, **given)
        else:
            for block, state in zip(self.blocks, states, strict=True):
                if block.takes_state:
                    given["state"] = state
                x = block.forward(x, **given)
                given.pop("state", None)
                block.forget()  # its arrays make room for those of the next one
        return self.final_norm.forward(x)

    def backward(self, dy: Array, frozen: int = 0) -> Gradients:
        """Add to all gradients inside; return that of ``x``, or of ``x`` and the memory.

        Parameters
        ----------
        dy : ndarray, shape (batch, time, d_model)
        frozen : int
            Blocks at the beginning that are left out, because nothing in them, or before them,
            needs a gradient: what comes back is the gradient of what the first other one reads.
        """
        dx = self.final_norm.backward(dy)
        dmemory = None
        for block in reversed(self.blocks[frozen:]):
            dx = block.backward(dx)
            if isinstance(dx, tuple):  # a block that attends to the memory too
                dx, dpart = dx
                dmemory = dpart if dmemory is None else dmemory + dpart
        return dx if dmemory is None else (dx, dmemory)

    def new_states(self, rows: int, capacity: int, dtype: Any = np.float32) -> list[Any]:
        """Make what the blocks keep of ``rows`` sequences of up to ``capacity`` positions.

        Parameters
        ----------
        rows : int
            How many sequences.
        capacity : int
            The most positions of one.
        dtype : dtype
            Of the keys and values.

        Returns
        -------
        list of KeyValueCache
            Of blocks that attend to a memory too, in a `WithMemory`.
        """
        config = self.config
        sizes = rows, config.num_kv_heads, capacity, config.head_size
        states = [KeyValueCache(*sizes, dtype) for _ in self.blocks]
        return [WithMemory(state) for state in states] if self.cross else list(states)
