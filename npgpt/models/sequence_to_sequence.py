"""What models share that translate: an encoder reads a source, a decoder writes a target."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from npgpt.fields import check_options, option
from npgpt.generation.translates import Translates
from npgpt.layers import CrossEntropy, Embedding, Init
from npgpt.layers.block_config import MODEL
from npgpt.layers.heads import head_loss
from npgpt.models.model import MODELS, ModelConfig, PairBatch, checked_ids, num_filled
from npgpt.models.token_input import TokenInput, sharing
from npgpt.models.with_head import ModelWithHead


@dataclasses.dataclass(frozen=True)
class SequenceToSequenceConfig(ModelConfig):
    """What the config of every model of pairs has.

    Parameters
    ----------
    source_vocab_size : int, optional
        Number of tokens of the source, where it has a tokenizer of its own.
    share_embeddings : bool
        Whether source and target have one table of embeddings.
    tie_embeddings : bool
        Whether the output head is the target's table of embeddings.
    label_smoothing : float
        Share of each target that training spreads over all tokens evenly, see `CrossEntropy`.

    Raises
    ------
    ValueError
        If a value is out of range, or a table is to be shared by two vocabularies.
    """

    _: dataclasses.KW_ONLY
    source_vocab_size: int | None = option(
        MODEL, default=None, minimum=1, shown_default="the target's"
    )
    share_embeddings: bool = option(MODEL, default=True)
    tie_embeddings: bool = option(MODEL, default=True)
    label_smoothing: float = option(MODEL, default=0.0)

    def check_pairs(self) -> None:
        """Hold values against what may be; for ``__post_init__``."""
        who = type(self).__name__
        check_options(self, who)
        if not 0.0 <= self.label_smoothing <= 1.0:
            raise ValueError(
                f"{who}: label_smoothing must be from 0 to 1, got {self.label_smoothing}."
            )
        if self.share_embeddings and self.num_source_tokens != self.vocab_size:
            raise ValueError(
                f"{who}: embeddings are shared by one vocabulary, got source_vocab_size "
                f"{self.source_vocab_size} and vocab_size {self.vocab_size}; "
                "share_embeddings=False gives each side its own."
            )

    @property
    def num_source_tokens(self) -> int:
        """``source_vocab_size``, or what stands for it when it is None."""
        return self.vocab_size if self.source_vocab_size is None else self.source_vocab_size


class SequenceToSequence(Translates, ModelWithHead):
    """A model that maps a sequence to another one, each token of it given those before.

    ``log p(y | x) = sum_t log p(y_t | y_1, ..., x)``: an encoder reads the source, a decoder
    predicts each token of the target from it and the tokens before, which training gives it as they
    should be (teacher forcing).

    A family makes ``source`` and ``target``, ``head`` and ``cross_entropy``, and defines `encode`,
    `decode`, their way back `backward_from_hidden`, and, for translations step by step,
    `new_states`, `start` and `step`.

    Attributes
    ----------
    name_with_pairs : str
        What ``npgpt train --model`` calls the family where pairs are given; its ``kind`` unless a
        language model has that name.
    source, target : TokenInput
        What each side reads.
    """

    Batch = PairBatch
    name_with_pairs = ""
    config: Any
    source: TokenInput
    target: TokenInput

    # --- the loss -------------------------------------------------------------------------------

    def hidden_states(self, source_ids, source_lengths, target_ids) -> np.ndarray:
        """Compute what the head reads, (batch, time, d_model).

        Parameters
        ----------
        source_ids, source_lengths, target_ids
            As of `PairBatch`.
        """
        if not self._unrolling:
            self.cross_entropy.forget()  # an earlier loss does not belong to this forward pass
        source_ids, lengths = self.checked_sources(source_ids, source_lengths)
        target_ids = checked_ids(target_ids, type(self).__name__)
        if len(target_ids) != len(source_ids):
            raise ValueError(
                f"{type(self).__name__}: each source needs a target, got {len(source_ids)} sources "
                f"and {len(target_ids)} targets."
            )
        return self.decode(target_ids, self.encode(source_ids, lengths))

    def forward(self, source_ids, source_lengths, target_ids) -> np.ndarray:
        """Compute the logits of each target's next token, (batch, time, vocab_size).

        Parameters
        ----------
        source_ids, source_lengths, target_ids
            As of `PairBatch`.

        Raises
        ------
        ValueError
            If an id is outside its vocabulary, a length not between 1 and the sources', or a
            sequence is longer than learned positions go.
        """
        return self.head.forward(self.hidden_states(source_ids, source_lengths, target_ids))

    def loss(self, source_ids, source_lengths, target_ids, targets) -> np.floating:
        """Compute the mean cross-entropy of the targets, in nats, under the config's smoothing.

        Parameters
        ----------
        source_ids, source_lengths, target_ids, targets
            As of `PairBatch`.
        """
        logits = self.forward(source_ids, source_lengths, target_ids)
        return self.cross_entropy.forward(logits, targets)

    def loss_and_backward(
        self, source_ids, source_lengths, target_ids, targets, dloss: float = 1.0
    ) -> np.floating:
        """Compute `loss` and do `backward`, with no more logits at a time than a chunk.

        Parameters
        ----------
        source_ids, source_lengths, target_ids, targets
            As of `PairBatch`.
        dloss : float
            As for `backward`.
        """
        inputs = source_ids, source_lengths, target_ids
        return self._loss_and_backward(inputs, targets, dloss)

    def evaluation_loss(self, source_ids, source_lengths, target_ids, targets) -> np.floating:
        """Compute the mean cross-entropy without smoothing, so that losses can be compared.

        Parameters
        ----------
        source_ids, source_lengths, target_ids, targets
            As of `PairBatch`.
        """
        x = self.hidden_states(source_ids, source_lengths, target_ids)
        return head_loss(self.head, x, targets, CrossEntropy(self.cross_entropy.ignore_index))

    def num_targets(self, source_ids, source_lengths, target_ids, targets) -> int:
        """Count the targets that are not ignored: what the loss is the mean of."""
        return self._num_counted(targets)

    def num_tokens(self, source_ids, source_lengths, target_ids, targets) -> int:
        """Count the tokens of sources and targets, padding left out."""
        return int(np.sum(source_lengths)) + num_filled(targets)

    def checked_sources(
        self, source_ids: Any, source_lengths: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sources and their lengths as arrays.

        Raises
        ------
        ValueError
            If a shape does not fit, or a source is empty or longer than the array.
        """
        who = type(self).__name__
        ids, lengths = checked_ids(source_ids, who), np.asarray(source_lengths)
        if lengths.shape != (len(ids),) or lengths.dtype.kind not in "iu":
            raise ValueError(
                f"{who}: expected source_lengths of shape ({len(ids)},), whole numbers, "
                f"got {lengths.dtype} of shape {lengths.shape}."
            )
        if not 1 <= lengths.min() <= lengths.max() <= ids.shape[1]:
            raise ValueError(
                f"{who}: source_lengths must be from 1 to the sources', {ids.shape[1]}, "
                f"got {lengths.tolist()}."
            )
        return ids, lengths.astype(np.int64)

    # --- what every family makes ------------------------------------------------------------------

    def _embeddings(self, std: float, init: Init) -> tuple[Embedding, Embedding]:
        """Make the tables of source and target: two, or one that both are."""
        config = self.config
        sizes = config.num_source_tokens, config.d_model
        source = Embedding(*sizes, std, init.rng, init.dtype)
        if config.share_embeddings:
            return source, sharing(source)
        return source, Embedding(config.vocab_size, config.d_model, std, init.rng, init.dtype)


def translators() -> dict[str, type[SequenceToSequence]]:
    """Map what ``npgpt train --model`` calls them, where pairs are given, to families of models."""
    families = [family for family in MODELS.values() if issubclass(family, SequenceToSequence)]
    return {family.name_with_pairs or family.kind: family for family in families}
