"""In which order the examples of an epoch come."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

from npgpt.fields import check_whole

MEGABATCH = 50  # batches among which `LengthGrouped` sorts, as in Hugging Face's sampler
STEP = 1.1  # from the longest of a bucket to that of the next


class Sampler(Protocol):
    """Draws the order of an epoch."""

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Return indices of examples; always equally many."""


class BatchSampler(Protocol):
    """Draws the batches of an epoch, which need not have equally many examples."""

    def batches(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Return the indices of each batch's examples; always equally many batches."""


@dataclasses.dataclass(frozen=True)
class Shuffled:
    """Every example once, in random order.

    Parameters
    ----------
    count : int
    """

    count: int

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Draw an epoch's order, (count,)."""
        return rng.permutation(self.count)


class Balanced:
    """Every class equally often, in random order.

    An epoch has as many examples as the largest class, of each class. Examples of smaller ones come
    several times, each as often as any other of its class, give or take one.

    Parameters
    ----------
    labels : array_like of int, shape (examples,)

    Examples
    --------
    >>> order = Balanced([0, 0, 0, 1]).order(np.random.default_rng(0))
    >>> np.bincount(order).tolist()
    [1, 1, 1, 3]
    """

    def __init__(self, labels):
        self.labels = np.asarray(labels)
        self._classes = [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Return indices, each class's equally many."""
        count = max(map(len, self._classes))
        chosen = []
        for members in self._classes:
            rounds = -(-count // len(members))
            chosen.append(np.concatenate([rng.permutation(members) for _ in range(rounds)])[:count])
        return rng.permutation(np.concatenate(chosen))

    def __repr__(self) -> str:
        return f"Balanced({np.bincount(self.labels).tolist()})"


class LengthGrouped:
    """Examples of similar length in a batch, so that little is padded.

    A random order is cut in groups of 50 batches and each group is sorted by length; then the
    batches are shuffled.

    Parameters
    ----------
    lengths : array_like of int, shape (examples,)
    batch_size : int
        Of the loader.
    sampler : Sampler, optional
        Draws the examples of an epoch; by default each is drawn once.

    Examples
    --------
    >>> lengths = np.array([9, 1, 8, 2, 7, 3])
    >>> order = LengthGrouped(lengths, batch_size=2).order(np.random.default_rng(0))
    >>> lengths[order].reshape(3, 2).tolist()
    [[9, 8], [7, 3], [2, 1]]
    """

    def __init__(self, lengths, batch_size: int, sampler: Sampler | None = None):
        self.lengths, self.batch_size = np.asarray(lengths), batch_size
        self.sampler = sampler or Shuffled(len(self.lengths))

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Return the drawn examples' indices, grouped."""
        shuffled = self.sampler.order(rng)
        size = MEGABATCH * self.batch_size
        groups = [shuffled[begin : begin + size] for begin in range(0, len(shuffled), size)]
        order = np.concatenate([g[np.argsort(-self.lengths[g], kind="stable")] for g in groups])
        full = len(order) // self.batch_size  # a smaller batch stays the last
        batches = order[: full * self.batch_size].reshape(full, self.batch_size)
        return np.concatenate([rng.permutation(batches).reshape(-1), order[batches.size :]])

    def __repr__(self) -> str:
        drawn = "" if isinstance(self.sampler, Shuffled) else f", {self.sampler!r}"
        return f"LengthGrouped({len(self.lengths)} examples, {self.lengths.sum()} tokens{drawn})"


class TokenBudget:
    """Batches of similar length that have equally many tokens, not equally many examples.

    Lengths are divided in buckets, each about 10 per cent longer than the one before it, as in
    Tensor2Tensor (Vaswani et al. 2018, arXiv 1803.07416). An epoch shuffles the examples of each
    bucket, cuts them in batches, as even as can be, and shuffles the batches. An epoch has each
    example once, and always equally many batches.

    Parameters
    ----------
    lengths : array_like of int, shape (examples,)
        Of an example with several sequences, that of the longest.
    batch_tokens : int
        What a batch has at most: its examples times the longest of its bucket, so that what fills
        up shorter ones counts too.

    Raises
    ------
    ValueError
        If an example alone is longer.

    Examples
    --------
    >>> lengths = np.array([20, 3, 21, 3, 20, 3, 3])
    >>> budget = TokenBudget(lengths, batch_tokens=42)
    >>> [lengths[batch].tolist() for batch in budget.batches(np.random.default_rng(0))]
    [[3, 3, 3, 3], [21], [20, 20]]
    """

    def __init__(self, lengths, batch_tokens: int):
        check_whole("TokenBudget", 1, batch_tokens=batch_tokens)
        self.lengths, self.batch_tokens = np.asarray(lengths, np.int64), batch_tokens
        if not self.lengths.size:
            raise ValueError("TokenBudget: there are no examples.")
        longest = int(self.lengths.max())
        if longest > batch_tokens:
            raise ValueError(
                f"TokenBudget: example {self.lengths.argmax()} has {longest} tokens, more than the "
                f"{batch_tokens} of a batch; raise batch_tokens, or leave long examples out."
            )
        buckets = np.searchsorted(_bounds(longest), self.lengths)
        self._buckets = [np.flatnonzero(buckets == bucket) for bucket in np.unique(buckets)]
        self._counts = [
            -(-len(members) // (batch_tokens // max(1, int(self.lengths[members].max()))))
            for members in self._buckets
        ]

    def batches(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Draw an epoch's batches."""
        drawn = [
            batch
            for members, count in zip(self._buckets, self._counts, strict=True)
            for batch in np.array_split(rng.permutation(members), count)
        ]
        return [drawn[i] for i in rng.permutation(len(drawn))]

    def __len__(self) -> int:
        return sum(self._counts)

    def __repr__(self) -> str:
        sizes = f"{len(self.lengths)} examples, {self.lengths.sum()} tokens"
        return f"TokenBudget({sizes}, batch_tokens={self.batch_tokens})"


def _bounds(longest: int) -> list[int]:
    """Return the longest length of each bucket."""
    bounds = [1]
    while bounds[-1] < longest:
        bounds.append(max(bounds[-1] + 1, int(bounds[-1] * STEP)))
    return bounds
