"""Batches for evaluation: the same ones, from the start, every time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npgpt.data.datasets import Dataset, Draws, RandomDataset, read_batch
from npgpt.data.samplers import BatchSampler
from npgpt.data.token_streams import TokenStreams, check_in_order
from npgpt.fields import check_whole

EVERY_TIME = Draws(seed=0, epoch=0)


class HeldOutBatches:
    """All windows of a data set in order, or an even spread of them.

    Unlike `DataLoader` it has no position: every iteration begins at the first batch.

    Parameters
    ----------
    dataset : Dataset or RandomDataset
        What it draws is the same every time.
    batch_size : int
        The last batch may be smaller.
    max_batches : int
        At most so many batches, evenly spread, of `TokenStreams` the first; 0 means all.

    Raises
    ------
    ValueError
        If ``batch_size`` is below 1 or ``max_batches`` below 0, or `TokenStreams` would not come in
        order.

    Examples
    --------
    >>> from npgpt.data import TokenWindows
    >>> batches = HeldOutBatches(TokenWindows(np.arange(100), 8), batch_size=4)
    >>> [inputs.shape for inputs, targets in batches]
    [(4, 8), (4, 8), (4, 8)]
    """

    def __init__(self, dataset: Dataset | RandomDataset, batch_size: int, max_batches: int = 0):
        check_whole("HeldOutBatches", 1, batch_size=batch_size)
        check_whole("HeldOutBatches", max_batches=max_batches)
        check_in_order("HeldOutBatches", dataset, batch_size)
        self.dataset, self.batch_size = dataset, batch_size
        count = len(dataset)
        if max_batches:
            count = min(count, max_batches * batch_size)
        # the streams are spread over the text themselves
        out_of = count if isinstance(dataset, TokenStreams) else len(dataset)
        self._indices = np.arange(count) * out_of // count

    def __repr__(self) -> str:
        return f"HeldOutBatches({self.dataset!r}, {len(self)} batches of {self.batch_size})"

    def __len__(self) -> int:
        return -(-len(self._indices) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        for start in range(0, len(self._indices), self.batch_size):
            indices = self._indices[start : start + self.batch_size]
            yield read_batch(self.dataset, indices, EVERY_TIME)


class HeldOutBudget:
    """Batches that a sampler draws, as those of `TokenBudget`, the same ones every time.

    Parameters
    ----------
    dataset : Dataset or RandomDataset
    batch_sampler : BatchSampler
    max_batches : int
        At most so many batches, of those in the order in which they are drawn; 0 means all.

    Raises
    ------
    ValueError
        If ``max_batches`` is below 0.
    """

    def __init__(
        self, dataset: Dataset | RandomDataset, batch_sampler: BatchSampler, max_batches: int = 0
    ):
        check_whole("HeldOutBudget", max_batches=max_batches)
        self.dataset, self.batch_sampler = dataset, batch_sampler
        self._batches = batch_sampler.batches(EVERY_TIME.of(0))[: max_batches or None]

    def __repr__(self) -> str:
        return f"HeldOutBudget({self.dataset!r}, {len(self)} batches of {self.batch_sampler!r})"

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        for indices in self._batches:
            yield read_batch(self.dataset, indices, EVERY_TIME)
