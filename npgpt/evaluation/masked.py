"""How well a model finds masked words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from npgpt.evaluation.loss import Batches
from npgpt.models import Bert
from npgpt.ops import IGNORE_INDEX


@dataclasses.dataclass(frozen=True)
class MaskedEvaluation:
    """Loss and accuracy over masked words.

    Attributes
    ----------
    loss : float
        Mean cross-entropy in nats a word.
    accuracy : float
        Share of the words that got the highest probability.
    words : int
        How many were masked.
    """

    loss: float
    accuracy: float
    words: int

    @property
    def standard_error(self) -> float:
        """Of the accuracy, as if each word were drawn for itself."""
        return math.sqrt(self.accuracy * (1.0 - self.accuracy) / self.words)


def evaluate_masked(
    model: Bert, batches: Batches, on_batch: Callable[[], None] = lambda: None
) -> MaskedEvaluation:
    """Compute loss and accuracy over batches, without dropout.

    Parameters
    ----------
    model : Bert
        Left in the mode it was in.
    batches : iterable of tuples of ndarray
        As of `MaskedBatch`; one without a masked word is left out.
    on_batch : function
        Called after each batch.

    Raises
    ------
    ValueError
        If no word is masked.
    """
    nats, right, words = 0.0, 0, 0
    with model.evaluating():
        for batch in batches:
            if count := model.num_targets(*batch):
                logits, targets = model.masked_logits(*batch)
                nats += float(model.cross_entropy.forward(logits, targets)) * count
                right += int(np.count_nonzero(logits.argmax(axis=-1) == targets))
                words += count
            on_batch()
    if not words:
        raise ValueError("evaluate_masked: there is no masked word to evaluate on.")
    return MaskedEvaluation(nats / words, right / words, words)


def frequency_accuracy(ids: np.ndarray, batches: Batches) -> float:
    """Compute the accuracy of whoever always says the word that is most frequent in a text.

    Parameters
    ----------
    ids : ndarray of int, shape (tokens,)
        Of the text that a model learned from.
    batches : iterable of tuples of ndarray
        As of `MaskedBatch`.
    """
    most_frequent, right, words = int(np.bincount(ids).argmax()), 0, 0
    for _, targets, *_ in batches:
        right += int(np.count_nonzero(targets == most_frequent))
        words += int(np.count_nonzero(targets != IGNORE_INDEX))
    return right / max(words, 1)
