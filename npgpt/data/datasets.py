"""What batches are made of: examples that can be stacked, as they are or partly drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

Indices = Sequence[int] | np.ndarray


class Dataset(Protocol):
    """Examples that can be stacked."""

    def __len__(self) -> int: ...

    def batch(self, indices: Indices) -> tuple[np.ndarray, ...]:
        """Make one array of each kind from the examples at some indices."""


@dataclasses.dataclass(frozen=True)
class Draws:
    """The random numbers of an epoch, a source of its own for each example.

    Each depends on seed, epoch and the example's index alone: not on the batch that it comes in,
    its place there, nor on what was drawn before. A run that resumes draws what it would have
    drawn, for any batch size and any number of processes.

    Parameters
    ----------
    seed, epoch : int

    Examples
    --------
    >>> draws = Draws(seed=1, epoch=0)
    >>> draws.of(7).random() == draws.of(7).random()
    True
    >>> draws.of(7).random() == Draws(seed=1, epoch=1).of(7).random()
    False
    """

    seed: int
    epoch: int

    def of(self, index: int) -> np.random.Generator:
        """Make the random source of one example, at its beginning."""
        key = np.random.SeedSequence(self.seed, spawn_key=(self.epoch, int(index)))
        return np.random.default_rng(key)


@runtime_checkable
class RandomDataset(Protocol):
    """Examples of which a part is drawn anew each epoch: what is masked, cropped, or noise."""

    def __len__(self) -> int: ...

    def random_batch(self, indices: Indices, draws: Draws) -> tuple[np.ndarray, ...]:
        """Make one array of each kind from the examples at some indices.

        What is drawn for the example at index ``i`` comes from ``draws.of(i)``.
        """


def read_batch(
    dataset: Dataset | RandomDataset, indices: Indices, draws: Draws
) -> tuple[np.ndarray, ...]:
    """Make a batch of the examples at some indices, with what is drawn for them."""
    if isinstance(dataset, RandomDataset):
        return dataset.random_batch(indices, draws)
    return dataset.batch(indices)
