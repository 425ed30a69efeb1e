"""Batches of different sizes in a seeded order, with a position that can be saved."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgpt.data.datasets import Dataset, RandomDataset
from npgpt.data.loader import DataLoader, Order
from npgpt.data.samplers import BatchSampler


class BatchLoader(DataLoader):
    """A `DataLoader` whose batches a sampler draws whole, anew for every epoch.

    Parameters
    ----------
    dataset : Dataset or RandomDataset
    batch_sampler : BatchSampler
        Such as `TokenBudget`; what it draws depends on (seed, epoch) alone.
    seed, prefetch, rank, world_size : int
        As of `DataLoader`; of several processes each gets batches of its own.

    Raises
    ------
    ValueError
        If an epoch has fewer batches than there are processes, or as of `DataLoader`.

    Examples
    --------
    >>> from npgpt.data import TokenBudget, TokenWindows
    >>> windows = TokenWindows(np.arange(40), 4)
    >>> loader = BatchLoader(windows, TokenBudget([4] * len(windows), batch_tokens=20))
    >>> [inputs.shape for inputs, targets in loader]
    [(5, 4), (4, 4)]
    """

    def __init__(
        self,
        dataset: Dataset | RandomDataset,
        batch_sampler: BatchSampler,
        seed: int = 0,
        prefetch: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.batch_sampler = batch_sampler
        super().__init__(dataset, 1, True, seed, False, prefetch, rank, world_size)
        if not len(self):
            raise ValueError(
                f"BatchLoader: {len(self._order)} batches are too few for {world_size} processes."
            )

    def __repr__(self) -> str:
        return f"BatchLoader({self.dataset!r}, {self.batch_sampler!r})"

    def __len__(self) -> int:
        return len(self._order) // self.world_size

    def _indices(self, batch: int) -> np.ndarray:
        place = batch * self.world_size + self.rank
        (indices,) = self._order[place : place + 1]
        return np.asarray(indices)

    def _identity(self) -> dict[str, Any]:
        sampled = {"batch_sampler": repr(self.batch_sampler)}
        return {k: v for k, v in super()._identity().items() if k != "batch_size"} | sampled

    def _order_of(self, epoch: int) -> Order:
        return self.batch_sampler.batches(np.random.default_rng([self.seed, epoch]))
