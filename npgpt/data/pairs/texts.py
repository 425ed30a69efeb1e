"""Pairs as token ids, padded to the longest of their batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npgpt.data.left_out import LeftOut
from npgpt.data.pairs.corpus import Pair
from npgpt.data.pairs.tokenizers import PairTokenizers
from npgpt.data.records import Record
from npgpt.data.sequences import pad
from npgpt.fields import short
from npgpt.ops import IGNORE_INDEX


class PairTexts:
    """Sources and targets as token ids.

    Parameters
    ----------
    sources, targets : sequence of ndarray of int
        Equally many. A source with its end token, if it has one; a target without start and end.
    start_id, end_id : int
        What a decoder reads first, and predicts last.

    Raises
    ------
    ValueError
        If there are not equally many, or none.

    Examples
    --------
    >>> texts = PairTexts([np.array([5, 9])], [np.array([7, 8])], start_id=1, end_id=2)
    >>> source_ids, source_lengths, target_ids, targets = texts.batch([0])
    >>> target_ids.tolist(), targets.tolist()
    ([[1, 7, 8]], [[7, 8, 2]])
    """

    def __init__(
        self,
        sources: Sequence[np.ndarray],
        targets: Sequence[np.ndarray],
        start_id: int,
        end_id: int,
    ):
        if len(sources) != len(targets) or not len(sources):
            raise ValueError(
                "PairTexts: there must be as many sources as targets, and at least one, got "
                f"{len(sources)} and {len(targets)}."
            )
        self.sources = list(sources)
        # the start, the target and the end, of which inputs and targets are all but one
        start, end = np.array([[start_id], [end_id]], np.int64)
        self.targets = [np.concatenate((start, row, end)) for row in targets]
        self.source_lengths = np.array([len(row) for row in self.sources], np.int64)
        self.target_lengths = np.array([len(row) - 1 for row in self.targets], np.int64)
        self.lengths = np.maximum(self.source_lengths, self.target_lengths)

    def __repr__(self) -> str:
        tokens = f"{self.source_lengths.sum():,} and {self.target_lengths.sum():,} tokens"
        return f"PairTexts({len(self):,} pairs, {tokens})"

    def __len__(self) -> int:
        return len(self.sources)

    def batch(self, indices) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Stack pairs.

        Returns
        -------
        source_ids : ndarray of int64, shape (len(indices), longest source)
            Filled up with 0.
        source_lengths : ndarray of int64, shape (len(indices),)
        target_ids : ndarray of int64, shape (len(indices), longest target)
            The start token and the target; filled up with 0.
        targets : ndarray of int64, shape (len(indices), longest target)
            The target and the end token; filled up with -100.
        """
        indices = np.asarray(indices)
        both = [self.targets[i] for i in indices]
        return (
            pad([self.sources[i] for i in indices]),
            self.source_lengths[indices],
            pad([row[:-1] for row in both]),
            pad([row[1:] for row in both], IGNORE_INDEX),
        )


def encode_pairs(
    pairs: Sequence[Pair],
    tokenizers: PairTokenizers,
    context_length: int | None = None,
    left_out: LeftOut | None = None,
) -> tuple[PairTexts, list[Pair]]:
    """Encode pairs, but leave out those that are too long.

    Parameters
    ----------
    pairs : sequence of Pair
    tokenizers : PairTokenizers
    context_length : int, optional
        Most tokens of a side, the end token with it.
    left_out : LeftOut, optional
        Gets the pairs that are longer.

    Returns
    -------
    texts : PairTexts
    kept : list of Pair
        Those that the texts are of, in their order.

    Raises
    ------
    ValueError
        If a character is not in the vocabulary, or no pair is left.
    """
    sources = tokenizers.encode_sources(pair.source for pair in pairs)
    targets = tokenizers.encode_targets(pair.target for pair in pairs)
    kept = []
    for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
        if context_length is None or max(len(source), len(target) + 1) <= context_length:
            kept.append(i)
        elif left_out is not None:
            reason = f"a side has more than {context_length} tokens"
            left_out.add(Record(short(pairs[i].source), {}), reason)
    if not kept:
        raise ValueError(
            f"None of {len(pairs):,} pairs fits into a context of {context_length} tokens; choose "
            "a longer one."
        )
    texts = PairTexts(
        [sources[i] for i in kept],
        [targets[i] for i in kept],
        tokenizers.start_id,
        tokenizers.end_id,
    )
    return texts, [pairs[i] for i in kept]
