"""A random order of very many things, without a list of them."""

from __future__ import annotations

import numpy as np

ROUNDS = 4
# of the generator splitmix64 (Steele, Lea and Flood 2014), here only as a hash
GAMMA, MIX_1, MIX_2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)


class RandomOrder:
    """A permutation of ``range(size)`` whose parts are computed when they are asked for.

    A Feistel network permutes the numbers of an even number of bits (Luby and Rackoff 1988); one
    that falls outside the range is permuted again until it falls inside (cycle walking: Black and
    Rogaway 2002).

    Parameters
    ----------
    size : int
    seed : sequence of int

    Examples
    --------
    >>> order = RandomOrder(10**12, [0, 3])
    >>> order[5:8].shape
    (3,)
    >>> sorted(RandomOrder(5, [1])[0:5].tolist())
    [0, 1, 2, 3, 4]
    """

    def __init__(self, size: int, seed):
        self.size = size
        self._half = np.uint64(max(1, (int(size - 1).bit_length() + 1) // 2))  # bits
        self._mask = (np.uint64(1) << self._half) - np.uint64(1)
        self._keys = np.random.default_rng(seed).integers(0, 2**63, ROUNDS, dtype=np.uint64)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> np.ndarray:
        """Return the places ``part``, int64."""
        values = self._permute(np.arange(*part.indices(self.size), dtype=np.uint64))
        while (outside := values >= self.size).any():
            values[outside] = self._permute(values[outside])
        return values.astype(np.int64)

    def _permute(self, values: np.ndarray) -> np.ndarray:
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (_hash(right + key) & self._mask)
        return (left << self._half) | right


def _hash(values: np.ndarray) -> np.ndarray:
    values = values * GAMMA
    values = (values ^ (values >> np.uint64(30))) * MIX_1
    values = (values ^ (values >> np.uint64(27))) * MIX_2
    return values ^ (values >> np.uint64(31))
