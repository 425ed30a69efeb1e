"""In which order the examples of an epoch come."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

MEGABATCH = 50  # batches among which `LengthGrouped` sorts, as in Hugging Face's sampler


class Sampler(Protocol):
    """Draws the order of an epoch."""

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Return indices of examples; always equally many."""


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
