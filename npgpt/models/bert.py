"""BERT: an encoder that sees both sides of each word, trained to find words that are masked."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np

from npgpt import ops
from npgpt.layers import (
    CrossEntropy,
    Embedding,
    FlatParameters,
    Linear,
    MaskedWordHead,
    Pooler,
    Stack,
    TransformerBlock,
    flatten_trained,
)
from npgpt.layers.block_config import check_config
from npgpt.layers.core.init import INITIAL_STD, Init
from npgpt.layers.core.layer import does_as
from npgpt.layers.positions import position_embedding
from npgpt.layers.transformer_block import new_norm
from npgpt.models.bert_config import BertConfig
from npgpt.models.body import embedded, frozen_blocks
from npgpt.models.model import MaskedBatch, Model, checked_ids, register
from npgpt.models.padding import Counted, checked_lengths, num_counted, num_there
from npgpt.models.pretrained import Pretrained
from npgpt.ops import Mask


class Asked(NamedTuple):
    """What `Bert.loss` keeps: the shape of the hidden states, and which of them it read."""

    shape: tuple[int, ...]
    counted: Counted


@register
class Bert(Pretrained, Model):
    """An encoder of text that is trained to find masked words (Devlin et al. 2018).

    (arXiv 1810.04805.) ``x = dropout(norm(token + position + segment))``, blocks in which each
    position sees all others, and heads that read what comes out of the last one. ``loss`` is the
    mean cross-entropy of the words that were masked; only their positions go through the head.

    Parameters
    ----------
    config : BertConfig
    seed : int
        Of the initial weights and of the dropout masks.
    dtype : dtype
        float32 to train, float64 to check gradients.
    recompute : bool
        Keep only each block's input for backward, as of `npgpt.GPT`.
    init : Init, optional
        In the place of ``seed`` and ``dtype``.

    Notes
    -----
    What stands in padded places changes nothing, not one bit: attention does not see it, and no
    loss is computed there.

    Tap: ``embeddings``.

    Examples
    --------
    >>> import numpy as np
    >>> from npgpt.models import Bert, BertConfig
    >>> model = Bert(BertConfig(11, 8, n_layers=2, n_heads=2, d_model=4))
    >>> token_ids = np.array([[1, 2, 10, 4], [5, 10, 0, 0]])  # 10 is the mask, the 0s are padding
    >>> targets = np.array([[-100, -100, 3, -100], [-100, 6, -100, -100]])
    >>> loss = model.loss(token_ids, targets, lengths=np.array([4, 2]))
    >>> model.backward()
    >>> model.hidden_states(token_ids, lengths=np.array([4, 2])).shape
    (2, 4, 4)
    """

    TAPS = ("embeddings",)
    UNNAMED = ("stack",)

    kind = "bert"
    Config = BertConfig
    Batch = MaskedBatch

    def __init__(
        self,
        config: BertConfig,
        seed: int = 0,
        dtype: Any = np.float32,
        recompute: bool = False,
        init: Init | None = None,
    ):
        super().__init__()
        check_config(config, self, BertConfig)
        init = init or Init(seed, dtype)
        self.config, self.seed, self.dtype = config, init.seed, init.dtype
        d_model, start = config.d_model, (INITIAL_STD, init.rng, init.dtype)
        self.token_embedding = Embedding(config.vocab_size, d_model, *start)
        # None for positions that act inside attention
        self.position_embedding = position_embedding(config, config.context_length, init)
        self.segment_embedding = Embedding(config.n_segments, d_model, *start)
        self.embedding_norm = new_norm(config, init)
        self.embedding_dropout = init.dropout(config.dropout)
        self.stack = Stack(config, init, recompute=recompute)
        tied_to = self.token_embedding.weight if config.tie_embeddings else None
        self.head: MaskedWordHead | None = None
        if config.masked_head:
            self.head = MaskedWordHead(config, config.vocab_size, init, tied_to)
        self.pooler = Pooler(config, init) if config.pooler else None
        self.next_sentence_head: Linear | None = None
        if config.next_sentence:
            self.next_sentence_head = Linear(d_model, 2, rng=init.rng, dtype=init.dtype)
        self.cross_entropy = CrossEntropy()
        self.assign_names()
        FlatParameters(self.parameters())

    @property
    def blocks(self) -> list[TransformerBlock]:
        """The Transformer blocks."""
        return self.stack.blocks

    def astype(self, dtype):
        """Convert every parameter to a dtype; returns the model."""
        super().astype(dtype)
        self.dtype = np.dtype(dtype)
        flatten_trained(self)
        return self

    # --- the encoder ----------------------------------------------------------------------------

    def embed(self, token_ids, segments=None) -> np.ndarray:
        """Compute what the first block reads, (batch, time) -> (batch, time, d_model)."""
        token_ids = checked_ids(token_ids, type(self).__name__)
        if not self._unrolling:
            self.cross_entropy.forget()  # an earlier loss does not belong to this forward pass
        segments = np.zeros_like(token_ids) if segments is None else np.asarray(segments)
        last = self.config.n_segments - 1
        if segments.shape != token_ids.shape or not np.all((segments >= 0) & (segments <= last)):
            raise ValueError(
                f"{type(self).__name__}: segments must be numbers from 0 to {last} in the shape of "
                f"the token ids, {token_ids.shape}, got the shape {segments.shape}"
                + (f" and up to {segments.max()}." if segments.size else ".")
            )
        x = embedded(token_ids, self.token_embedding, self.position_embedding, self.dtype)
        x = ops.add(x, self.segment_embedding.forward(segments))
        x = self.embedding_dropout.forward(self.embedding_norm.forward(x))
        return self.tap("embeddings", x)

    def hidden_states(self, token_ids, segments=None, lengths=None) -> np.ndarray:
        """Compute what the heads read.

        Parameters
        ----------
        token_ids : ndarray of int, shape (batch, time)
            Padded at the end with any ids.
        segments : ndarray of int, shape (batch, time), optional
            To which segment each token belongs; all to the first one by default.
        lengths : ndarray of int, shape (batch,), optional
            Tokens of each text, at least 1; by default nothing is padded.

        Returns
        -------
        ndarray, shape (batch, time, d_model)
            What stands in padded places means nothing.

        Raises
        ------
        ValueError
            If an id or a segment does not exist, a length is not in ``1 .. time``, or the sequence
            is longer than the context.
        """
        x = self.embed(token_ids, segments)
        lengths = checked_lengths(lengths, x.shape[:2], type(self).__name__)
        mask = None if lengths is None else Mask(False, self.config.window, lengths)
        return self.stack.forward(x, mask=mask)

    def backward_from_hidden(self, dx: np.ndarray) -> None:
        """Send a gradient of the last `hidden_states`, (batch, time, d_model), back."""
        before = (self.token_embedding, self.position_embedding, self.segment_embedding)
        frozen = frozen_blocks(self.stack, (*before, self.embedding_norm))
        dx = cast(np.ndarray, self.stack.backward(dx, frozen or 0))  # there is no memory
        if frozen is not None:
            return
        dx = self.embedding_dropout.backward(self.tap_grad("embeddings", dx))
        dx = self.embedding_norm.backward(dx)
        self.segment_embedding.backward(dx)
        if self.position_embedding is not None:
            dx = self.position_embedding.backward(dx)
        self.token_embedding.backward(dx)

    # --- heads ------------------------------------------------------------------------------------

    def forward(self, token_ids, segments=None, lengths=None) -> np.ndarray:
        """Compute the logits of the word at every position.

        Parameters
        ----------
        token_ids, segments, lengths
            As for `hidden_states`.

        Returns
        -------
        ndarray, shape (batch, time, vocab_size)
        """
        return self._head().forward(self.hidden_states(token_ids, segments, lengths))

    def next_sentence_logits(self, token_ids, segments=None, lengths=None) -> np.ndarray:
        """Compute the logits of "the second segment follows the first" and of "it does not".

        Parameters
        ----------
        token_ids, segments, lengths
            As for `hidden_states`.

        Returns
        -------
        ndarray, shape (batch, 2)
        """
        if self.next_sentence_head is None or self.pooler is None:
            raise ValueError(
                f"{type(self).__name__} has no head for the next sentence; make it with "
                "next_sentence=True and pooler=True, or load it from a file that has one."
            )
        pooled = self.pooler.forward(self.hidden_states(token_ids, segments, lengths))
        return self.next_sentence_head.forward(pooled)

    def _head(self) -> MaskedWordHead:
        if self.head is None:
            raise ValueError(
                f"{type(self).__name__} has no head for masked words; make it with "
                "masked_head=True, or load it from a file that has one."
            )
        return self.head

    # --- the loss of masked words -----------------------------------------------------------------

    def _masked(self, token_ids, targets, segments, lengths) -> tuple[np.ndarray, Counted]:
        """Compute the hidden states of the positions that have a target."""
        x = self.hidden_states(token_ids, segments, lengths)
        lengths = checked_lengths(lengths, x.shape[:2], type(self).__name__)
        shape = (*x.shape[:2], self.config.vocab_size)
        counted = Counted.of(targets, lengths, shape, self.cross_entropy)
        self.keep(Asked(x.shape, counted))
        return counted.rows(x), counted

    def _masked_backward(self, drows: np.ndarray) -> None:
        shape, counted = self.recall()
        self.backward_from_hidden(counted.rows_backward(drows, shape))

    def masked_logits(
        self, token_ids, targets, segments=None, lengths=None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the logits of the masked words alone.

        Parameters
        ----------
        token_ids, targets, segments, lengths
            As of `MaskedBatch`.

        Returns
        -------
        logits : ndarray, shape (words, vocab_size)
        words : ndarray of int, shape (words,)
            What stood in their places: the targets that count.
        """
        head = self._head()
        rows, counted = self._masked(token_ids, targets, segments, lengths)
        return head.forward(rows), counted.targets

    def loss(self, token_ids, targets, segments=None, lengths=None) -> np.floating:
        """Compute the mean cross-entropy of the masked words, in nats; `backward` may follow.

        Parameters
        ----------
        token_ids, targets, segments, lengths
            As of `MaskedBatch`. A target in a padded place does not count.
        """
        return self.cross_entropy.forward(
            *self.masked_logits(token_ids, targets, segments, lengths)
        )

    def backward(self, dloss: float = 1.0) -> None:
        """Add the gradient of `loss`, times ``dloss``, to every parameter's ``.grad``."""
        if self.cross_entropy.saved is None and does_as(self.cross_entropy, CrossEntropy):
            raise RuntimeError(f"{type(self).__name__}: backward needs a call of loss before it.")
        self._masked_backward(self._head().backward(self.cross_entropy.backward(dloss)))

    def loss_and_backward(
        self, token_ids, targets, segments=None, lengths=None, dloss: float = 1.0
    ) -> np.floating:
        """Compute `loss` and do `backward` in one go, a chunk of logits at a time.

        Parameters
        ----------
        token_ids, targets, segments, lengths
            As of `MaskedBatch`.
        dloss : float
            As for `backward`.
        """
        head = self._head()
        if not does_as(head, MaskedWordHead) or head.is_listened_to("decoder.logits"):
            loss = self.loss(token_ids, targets, segments, lengths)
            self.backward(dloss)
            return loss
        rows, counted = self._masked(token_ids, targets, segments, lengths)
        loss, drows = head.cross_entropy_and_backward(
            rows, counted.targets, self.cross_entropy, dloss
        )
        self._masked_backward(drows)
        return loss

    def evaluation_loss(self, token_ids, targets, segments=None, lengths=None) -> np.floating:
        """Compute `loss` a chunk of logits at a time, when no `backward` follows.

        Parameters
        ----------
        token_ids, targets, segments, lengths
            As of `MaskedBatch`.
        """
        head = self._head()
        if not does_as(head, MaskedWordHead):
            return self.loss(token_ids, targets, segments, lengths)
        rows, counted = self._masked(token_ids, targets, segments, lengths)
        return head.cross_entropy(rows, counted.targets, self.cross_entropy)

    def num_targets(self, token_ids, targets, segments=None, lengths=None) -> int:
        """Count the masked words: what the loss is the mean of."""
        return num_counted(targets, lengths, self.cross_entropy)

    def num_tokens(self, token_ids, targets, segments=None, lengths=None) -> int:
        """Count the texts' tokens."""
        return num_there(token_ids, lengths)
