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
    flatten_trained,
)
from npgpt.layers.block_config import check_config
from npgpt.layers.core.init import INITIAL_STD, Init
from npgpt.layers.core.layer import does_as
from npgpt.layers.embedding import adds_rows
from npgpt.layers.heads import head_loss, head_loss_and_backward
from npgpt.layers.positions import gives_rows, position_embedding
from npgpt.models.config import GPTConfig
from npgpt.models.model import LanguageModel, TokenBatch, checked_ids, num_filled, register
from npgpt.models.pretrained import Pretrained


@register
class GPT(LanguageModel, Pretrained):
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

    def astype(self, dtype):
        """Convert every parameter to a dtype; returns the model."""
        super().astype(dtype)
        self.dtype = np.dtype(dtype)
        flatten_trained(self)
        return self

    def forward(self, token_ids) -> np.ndarray:
        """Compute the logits of the next token at every position.

        Parameters
        ----------
        token_ids : ndarray of int, shape (batch, time)

        Returns
        -------
        ndarray, shape (batch, time, vocab_size)

        Raises
        ------
        ValueError
            If an id is outside the vocabulary, or the sequence is longer than the context.
        """
        return self.head.forward(self.hidden_states(token_ids))

    def loss(self, token_ids, targets) -> np.floating:
        """Compute the mean cross-entropy of the targets, in nats; `backward` may follow.

        Parameters
        ----------
        token_ids, targets : ndarray of int, shape (batch, time)
            Targets of -100 are ignored.
        """
        return self.cross_entropy.forward(self.forward(token_ids), targets)

    def loss_and_backward(self, token_ids, targets, dloss: float = 1.0) -> np.floating:
        """Compute `loss` and do `backward` in one go, as training does.

        The logits are made, used and forgotten a chunk at a time, which takes less time and much
        less memory; (batch, time, vocab_size) numbers never exist.

        Parameters
        ----------
        token_ids, targets : ndarray of int, shape (batch, time)
            Targets of -100 are ignored.
        dloss : float
            As for `backward`.

        Returns
        -------
        scalar
            The loss.
        """
        if self.head.is_listened_to("logits"):
            loss = self.loss(token_ids, targets)
            self.backward(dloss)
            return loss
        x = self.hidden_states(token_ids)
        loss, dx = head_loss_and_backward(self.head, x, targets, self.cross_entropy, dloss)
        self.backward_from_hidden(dx)
        return loss

    def evaluation_loss(self, token_ids, targets) -> np.floating:
        """Compute `loss` a chunk of logits at a time, when no `backward` follows.

        Parameters
        ----------
        token_ids, targets : ndarray of int, shape (batch, time)
            Targets of -100 are ignored.
        """
        return head_loss(self.head, self.hidden_states(token_ids), targets, self.cross_entropy)

    def num_targets(self, token_ids, targets) -> int:
        """Count the targets that are not ignored: what the loss is the mean of."""
        return int(np.count_nonzero(np.asarray(targets) != self.cross_entropy.ignore_index))

    def num_tokens(self, token_ids, targets) -> int:
        """Count the tokens up to each row's last target: those behind it change nothing."""
        return num_filled(targets)

    def backward(self, dloss: float = 1.0) -> None:
        """Add the gradient of `loss`, times ``dloss``, to every parameter's ``.grad``.

        Gradients add up over calls: for the mean over ``n`` batches, call it after each batch's
        loss with ``dloss=1 / n``.
        """
        if self.cross_entropy.saved is None and does_as(self.cross_entropy, CrossEntropy):
            raise RuntimeError(
                "GPT: backward needs a call of loss before it; after forward alone, "
                "backward_from_logits(dlogits) sends a gradient of the logits back."
            )
        if np.ndim(dloss):
            raise ValueError(
                f"GPT: backward takes dloss, one number, got an array of shape {np.shape(dloss)}; "
                "backward_from_logits takes the gradient of logits."
            )
        self.backward_from_logits(self.cross_entropy.backward(dloss))

    def backward_from_logits(self, dlogits: np.ndarray) -> None:
        """Send a gradient of the logits of the last `forward` back through the model.

        Parameters
        ----------
        dlogits : ndarray, shape (batch, time, vocab_size)
        """
        self.backward_from_hidden(self.head.backward(dlogits))

    def backward_from_hidden(self, dx: np.ndarray) -> None:
        """Send a gradient of the last `hidden_states`, (batch, time, d_model), back."""
        frozen = self._frozen_blocks()
        dx = cast(np.ndarray, self.stack.backward(dx, frozen or 0))  # there is no memory
        if frozen is not None:
            return
        dx = self.tap_grad("embeddings", dx)
        dx = self.embedding_dropout.backward(dx)
        if self.position_embedding is not None:
            dx = self.position_embedding.backward(dx)
        self.token_embedding.backward(dx)

    def _frozen_blocks(self) -> int | None:
        """Count the first blocks that need no gradient; None if the embeddings need one."""
        layers = [self.token_embedding, self.position_embedding]
        if self.listener is not None or any(x and x.trained_parameters() for x in layers):
            return None
        trained = [bool(block.trained_parameters()) for block in self.blocks]
        return trained.index(True) if any(trained) else len(trained)

    def embed(self, token_ids) -> np.ndarray:
        """Compute what the first block reads, (batch, time) -> (batch, time, d_model)."""
        token_ids = checked_ids(token_ids, "GPT")
        if not self._unrolling:
            self.cross_entropy.forget()  # an earlier loss does not belong to this forward pass
        by_place = self.position_embedding
        if by_place is None:
            x = self.token_embedding.forward(token_ids)
        elif gives_rows(by_place) and adds_rows(self.token_embedding):  # in one pass
            shape = (*token_ids.shape, self.config.d_model)
            x = self.token_embedding.forward(token_ids, by_place.rows_for(shape, self.dtype))
        else:
            x = by_place.forward(self.token_embedding.forward(token_ids))
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
