"""Batches in a seeded order, with a position that can be saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from npgpt.data.datasets import Dataset, Draws, RandomDataset, read_batch
from npgpt.data.order import RandomOrder
from npgpt.data.samplers import Sampler, Shuffled
from npgpt.data.token_streams import TokenStreams, check_in_order
from npgpt.fields import LARGEST, check_whole

Order = np.ndarray | range | RandomOrder | list[np.ndarray]  # of examples, or of whole batches
LARGEST_LIST = 1 << 24  # windows; the order of more is computed when it is needed


class DataLoader:
    """Batches of a data set, epoch after epoch.

    Parameters
    ----------
    dataset : Dataset or RandomDataset
        Such as `TokenWindows`: it has a length, and makes a batch of the examples at some indices;
        a `RandomDataset` also from what is drawn for them, by (seed, epoch, index).
    batch_size : int
        The last batch of an epoch may be smaller.
    shuffle : bool
        Draw a new order for every epoch, from (seed, epoch).
    sampler : Sampler, optional
        Draws the orders instead, as `Balanced` and `LengthGrouped` do.
    seed : int
    drop_last : bool
        Leave out a last batch that is smaller than the others.
    prefetch : int
        Batches that a thread of the loader's own reads ahead, for windows that come from a disk.
        The position does not move before a batch is handed out.
    rank, world_size : int
        This process is number ``rank`` of ``world_size`` that train together: each gets its own
        part of every step's windows, and all have equally many batches of equal sizes. What does
        not divide at the end of an epoch is left out. A position of one process is that of all.

    Raises
    ------
    ValueError
        If ``batch_size`` is below 1, ``prefetch`` below 0, ``rank`` is not below ``world_size``, an
        epoch would have no batch, or `TokenStreams` would not come in order.

    Notes
    -----
    Iterating yields the batches from the current position to the end of the epoch; the next
    iteration begins the next epoch. The position belongs to the loader, not to the iterator:
    `state_dict` names that of the next batch, and `load_state_dict` moves an iteration under way.

    Examples
    --------
    >>> from npgpt.data import TokenWindows
    >>> loader = DataLoader(TokenWindows(np.arange(40), 4), batch_size=3, shuffle=True, seed=1)
    >>> [inputs.shape for inputs, targets in loader]
    [(3, 4), (3, 4), (3, 4)]
    """

    def __init__(
        self,
        dataset: Dataset | RandomDataset,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        prefetch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        sampler: Sampler | None = None,
    ):
        check_whole("DataLoader", prefetch=prefetch, seed=seed)
        check_whole("DataLoader", -LARGEST, rank=rank, world_size=world_size)
        check_whole("DataLoader", 1, batch_size=batch_size)
        if not 0 <= rank < world_size:
            raise ValueError(
                f"DataLoader: rank must be from 0 to world_size - 1, got rank {rank} of "
                f"{world_size}."
            )
        if drop_last and len(dataset) < batch_size * world_size:
            for_all = f" for each of {world_size} processes" if world_size > 1 else ""
            raise ValueError(
                f"DataLoader: {len(dataset)} windows do not fill one batch of {batch_size}"
                f"{for_all}, and drop_last leaves it out."
            )
        if len(dataset) < world_size:
            raise ValueError(
                f"DataLoader: {len(dataset)} windows are too few for {world_size} processes."
            )
        in_order = not shuffle and sampler is None
        check_in_order("DataLoader", dataset, batch_size * world_size, in_order)
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        self.prefetch, self.rank, self.world_size = prefetch, rank, world_size
        self.sampler = sampler or (Shuffled(len(dataset)) if shuffle else None)
        self._reader: ThreadPoolExecutor | None = None
        self._ahead: dict[tuple[int, int], Future] = {}  # by position
        self.epoch, self.batch = 0, 0
        self._order = self._order_of(self.epoch)

    def __repr__(self) -> str:
        order = self.sampler if self.sampler is not None else "in order"
        return f"DataLoader({self.dataset!r}, batch_size={self.batch_size}, {order})"

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self._order), self.batch_size * self.world_size)
        return full + (rest >= self.world_size and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        epoch = self.epoch
        while self.epoch == epoch:
            batch = self._read()
            # move on before handing out, so that a state taken by the receiver names the next batch
            if self.batch + 1 < len(self):
                self._go_to(self.epoch, self.batch + 1)
            else:
                self._go_to(self.epoch + 1, 0)
            yield batch

    def forever(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield batches without end, epoch after epoch."""
        while True:
            yield from self

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the next batch, and what the order depends on.

        Returns
        -------
        dict
            Of integers and booleans, ready for JSON.
        """
        return {"epoch": self.epoch, "batch": self.batch, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a saved position; the batches that follow are those that would have followed it.

        Parameters
        ----------
        state : mapping
            From `state_dict`.

        Raises
        ------
        ValueError
            If the state is incomplete, or of a loader with other windows or another order.
        """
        identity = self._identity()
        missing = [name for name in ("epoch", "batch", *identity) if name not in state]
        if missing:
            raise ValueError(f"DataLoader: the saved position has no {', '.join(missing)}.")
        for name, value in identity.items():
            if state[name] != value:
                raise ValueError(
                    f"DataLoader: the saved position is for {name} {state[name]}, this loader has "
                    f"{value}."
                )
        epoch, batch = state["epoch"], state["batch"]
        if epoch < 0 or not 0 <= batch < len(self):
            raise ValueError(
                f"DataLoader: there is no batch {batch} of epoch {epoch}; an epoch has {len(self)} "
                "batches, counted from 0."
            )
        self._go_to(epoch, batch)

    def _read(self) -> tuple[np.ndarray, ...]:
        """Read the batch at the position; let those after it in the epoch be read meanwhile."""
        if not self.prefetch:
            return read_batch(*self._content(self.epoch, self.batch))
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, thread_name_prefix="npgpt-prefetch")
        last = min(self.batch + self.prefetch, len(self) - 1)
        wanted = [(self.epoch, batch) for batch in range(self.batch, last + 1)]
        self._ahead = {
            place: self._ahead.get(place) or self._reader.submit(read_batch, *self._content(*place))
            for place in wanted
        }
        return self._ahead.pop(wanted[0]).result()

    def _content(self, epoch: int, batch: int) -> tuple[Dataset | RandomDataset, np.ndarray, Draws]:
        return self.dataset, self._indices(batch), Draws(self.seed, epoch)

    def _indices(self, batch: int) -> np.ndarray:
        at_once = self.batch_size * self.world_size  # one batch of each process
        start = batch * at_once
        share = min(at_once, len(self._order) - start) // self.world_size
        return np.asarray(self._order[start + self.rank * share : start + (self.rank + 1) * share])

    def _identity(self) -> dict[str, Any]:
        identity: dict[str, Any] = {
            "num_windows": len(self.dataset),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "drop_last": self.drop_last,
            # not in positions of before there was a choice
            **({"world_size": self.world_size} if self.world_size > 1 else {}),
        }
        if self.sampler is not None and not isinstance(self.sampler, Shuffled):
            identity["sampler"] = repr(self.sampler)
        if isinstance(self.dataset, TokenStreams):
            identity["piece_length"] = self.dataset.piece_length
        return identity

    def _go_to(self, epoch: int, batch: int) -> None:
        if epoch != self.epoch:
            self._order = self._order_of(epoch)
        self.epoch, self.batch = epoch, batch

    def _order_of(self, epoch: int) -> Order:
        if self.sampler is None:
            return range(len(self.dataset))
        if isinstance(self.sampler, Shuffled) and len(self.dataset) > LARGEST_LIST:
            return RandomOrder(len(self.dataset), [self.seed, epoch])
        return self.sampler.order(np.random.default_rng([self.seed, epoch]))
