"""GPT: embeddings, blocks, a final norm, and a head that predicts the next token."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from npgpt import ops
from npgpt.layers import (
    CrossEntropy,
    Embedding,
    FlatParameters,
    KeyValueCache,
    Layer,
    OutputHead,
    Stack,
    TransformerBlock,
)
from npgpt.layers.block_config import check_config
from npgpt.layers.core.init import INITIAL_STD, Init
from npgpt.layers.positions import position_embedding
from npgpt.models.body import embedded, frozen_blocks
from npgpt.models.config import GPTConfig
from npgpt.models.model import TokenBatch, checked_ids, register
from npgpt.models.next_token import NextTokenModel
from npgpt.models.pretrained import Pretrained


@register
class GPT(NextTokenModel, Pretrained):
    """A decoder-only Transformer: GPT-2 (Radford et al. 2019), or what the config chooses.

    Parameters
    ----------
    config : GPTConfig
    seed : int
        Of the initial weights and of the dropout masks.
    dtype : dtype
        float32 to train, float64 to check gradients.
    recompute : bool
        Keep only each block's input for backward, which runs the block's forward again: less
        memory for about a third more work, and the same numbers.
    init : Init, optional
        In the place of ``seed`` and ``dtype``.

    Notes
    -----
    Weights start from a normal distribution with standard deviation 0.02; the maps that write to
    the residual stream from 0.02 / sqrt(2 n_layers), because 2 n_layers branches add up in it.

    Examples
    --------
    >>> import numpy as np
    >>> import npgpt
    >>> config = npgpt.GPTConfig(vocab_size=11, context_length=8, n_layers=2, n_heads=2, d_model=4)
    >>> model = npgpt.GPT(config, seed=0)
    >>> token_ids = np.arange(8).reshape(1, 8)
    >>> model.forward(token_ids).shape
    (1, 8, 11)
    >>> loss = model.loss(token_ids[:, :-1], token_ids[:, 1:])
    >>> model.backward()
    >>> model.token_embedding.weight.grad.shape
    (11, 4)
    """

    TAPS = ("embeddings",)
    UNNAMED = ("stack",)

    kind = "gpt"
    Config = GPTConfig
    Batch = TokenBatch

    def __init__(
        self,
        config: GPTConfig,
        seed: int = 0,
        dtype: Any = np.float32,
        recompute: bool = False,
        init: Init | None = None,
    ):
        super().__init__()
        check_config(config, self, GPTConfig)
        init = init or Init(seed, dtype)
        self.config, self.seed, self.dtype = config, init.seed, init.dtype
        self.token_embedding: Embedding = Embedding(
            config.vocab_size, config.d_model, INITIAL_STD, init.rng, init.dtype
        )
        # None for positions that act inside attention
        self.position_embedding = position_embedding(config, config.context_length, init)
        self.embedding_dropout = init.dropout(config.dropout)
        self.stack = Stack(config, init, recompute=recompute)
        tied_to = self.token_embedding.weight if config.tie_embeddings else None
        self.head: OutputHead = OutputHead(
            config.d_model, config.vocab_size, tied_to, init.rng, init.dtype
        )
        self.cross_entropy = CrossEntropy()
        self.assign_names()
        FlatParameters(self.parameters())

    @property
    def blocks(self) -> list[TransformerBlock]:
        """The Transformer blocks."""
        return self.stack.blocks

    @property
    def final_norm(self) -> Layer:
        """The norm between the blocks and the head."""
        return self.stack.final_norm

    @final_norm.setter
    def final_norm(self, norm: Layer) -> None:
        self.stack.final_norm = norm

    @property
    def context_length(self) -> int:
        """How many tokens the model looks back."""
        return self.config.context_length

    def backward_from_hidden(self, dx: np.ndarray) -> None:
        """Send a gradient of the last `hidden_states`, (batch, time, d_model), back."""
        ends = (self.token_embedding, self.position_embedding)
        frozen = frozen_blocks(self.stack, ends)
        dx = cast(np.ndarray, self.stack.backward(dx, frozen or 0))  # there is no memory
        if frozen is not None:
            return
        dx = self.tap_grad("embeddings", dx)
        dx = self.embedding_dropout.backward(dx)
        if self.position_embedding is not None:
            dx = self.position_embedding.backward(dx)
        self.token_embedding.backward(dx)

    def embed(self, token_ids) -> np.ndarray:
        """Compute what the first block reads, (batch, time) -> (batch, time, d_model)."""
        token_ids = checked_ids(token_ids, "GPT")
        if not self._unrolling:
            self.cross_entropy.forget()  # an earlier loss does not belong to this forward pass
        x = embedded(token_ids, self.token_embedding, self.position_embedding, self.dtype)
        return self.tap("embeddings", self.embedding_dropout.forward(x))

    def hidden_states(self, token_ids) -> np.ndarray:
        """Compute what the head reads, (batch, time) -> (batch, time, d_model)."""
        return self.stack.forward(self.embed(token_ids))

    def _repr_html_(self) -> str:
        return self.config._repr_html_() + self.summary()._repr_html_()

    # --- step by step ---------------------------------------------------------------------------

    @property
    def reads_in_steps(self) -> bool:
        """Whether `start` and `step` give what the whole text at once does."""
        parts = self.token_embedding, self.position_embedding, self.stack, self.head
        return all(layer.IN_STEPS for part in parts if part is not None for layer in part.layers())

    def next_logits(self, token_ids: np.ndarray) -> np.ndarray:
        """Compute the logits after the last position only; see `Generates.next_logits`."""
        token_ids = np.asarray(token_ids)[:, -self.context_length :]
        x = self.hidden_states(token_ids)[:, -1:]  # (batch, 1, d_model)
        return self.head.forward(x)[:, 0]

    def new_states(self, rows: int, capacity: int) -> list[KeyValueCache]:
        """Make empty caches of keys and values, one a block; see `Generates.new_states`."""
        return self.stack.new_states(rows, capacity, self.dtype)

    def start(self, token_ids, lengths, states, memory=None) -> np.ndarray:
        """Read the beginnings of sequences into fresh states; see `Generates.start`."""
        with ops.Workspace():  # each block's arrays take the place of those of the one before
            x = self.stack.forward(self.embed(token_ids), states=states)
            logits = self.head.forward(x[np.arange(len(x)), lengths - 1])
            self.forget()
        for state in states:
            state.lengths = lengths
        return logits

    def step(self, tokens, states) -> np.ndarray:
        """Read one more token of each sequence, (batch,); see `Generates.step`."""
        rows, places = None, states[0].lengths
        if self.position_embedding is not None:
            shape = (1, int(places.max()) + 1, self.config.d_model)
            rows = self.position_embedding.rows_for(shape, self.dtype)[places]
        # the sequences take the place of time: each has a position of its own
        x = self.token_embedding.forward(tokens[None], rows).swapaxes(0, 1)  # (batch, 1, d_model)
        return self.head.forward(self.stack.forward(x, states=states))[:, 0]
