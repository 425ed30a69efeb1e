"""Batches in a seeded order, with a position that can be saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from npgpt.data.windows import TokenWindows


class DataLoader:
    """Batches of windows, epoch after epoch.

    Parameters
    ----------
    dataset : TokenWindows
    batch_size : int
        The last batch of an epoch may be smaller.
    shuffle : bool
        Draw a new order for every epoch, from (seed, epoch).
    seed : int
    drop_last : bool
        Leave out a last batch that is smaller than the others.

    Raises
    ------
    ValueError
        If ``batch_size`` is below 1, or an epoch would have no batch.

    Notes
    -----
    Iterating yields the batches from the current position to the end of the epoch; the next
    iteration begins the next epoch. The position belongs to the loader, not to the iterator:
    `state_dict` names that of the next batch, and `load_state_dict` moves an iteration under way.

    Examples
    --------
    >>> loader = DataLoader(TokenWindows(np.arange(40), 4), batch_size=3, shuffle=True, seed=1)
    >>> [inputs.shape for inputs, targets in loader]
    [(3, 4), (3, 4), (3, 4)]
    """

    def __init__(
        self,
        dataset: TokenWindows,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
    ):
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size must be at least 1, got {batch_size}.")
        if drop_last and len(dataset) < batch_size:
            raise ValueError(
                f"DataLoader: {len(dataset)} windows do not fill one batch of {batch_size}, and "
                "drop_last leaves it out."
            )
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        self.epoch, self.batch = 0, 0
        self._order = self._order_of(self.epoch)

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        epoch = self.epoch
        while self.epoch == epoch:
            start = self.batch * self.batch_size
            indices = self._order[start : start + self.batch_size]
            # move on before handing out, so that a state taken by the receiver names the next batch
            if self.batch + 1 < len(self):
                self._go_to(self.epoch, self.batch + 1)
            else:
                self._go_to(self.epoch + 1, 0)
            yield self.dataset.batch(indices)

    def forever(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
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

    def _identity(self) -> dict[str, Any]:
        return {
            "num_windows": len(self.dataset),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "drop_last": self.drop_last,
        }

    def _go_to(self, epoch: int, batch: int) -> None:
        if epoch != self.epoch:
            self._order = self._order_of(epoch)
        self.epoch, self.batch = epoch, batch

    def _order_of(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self.dataset))
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.dataset))
