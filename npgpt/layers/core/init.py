"""Where new layers get their numbers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from npgpt.fields import check_whole
from npgpt.layers.dropout import Dropout

DTYPES = tuple(map(np.dtype, ("float32", "float64", "complex64", "complex128")))
INITIAL_STD = 0.02  # of embeddings and linear maps (Radford et al. 2019; released code)


class Init:
    """Initial weights and dropout streams of the layers of one model, in the order of making.

    Parameters
    ----------
    seed : int
        Of the weights and of the dropout masks.
    dtype : dtype
    fill : bool
        False makes parameters without content, at no cost of time or memory: for a model whose
        weights come from a file, or that is only to be counted.

    Attributes
    ----------
    rng : Generator
        What layers take for their argument ``rng``.
    """

    def __init__(self, seed: int = 0, dtype: Any = np.float32, fill: bool = True):
        check_whole("Init", seed=seed)
        try:
            self.seed, self.dtype = seed, np.dtype(dtype)
        except TypeError:
            raise TypeError(f"Init: dtype must be float32 or float64, got {dtype!r}.") from None
        if self.dtype not in DTYPES:
            raise ValueError(
                f"Init: dtype must be float32, to train, or float64, to check gradients, got "
                f"{self.dtype}."
            )
        self.rng: np.random.Generator | Unfilled = np.random.default_rng(seed) if fill else UNFILLED
        self._streams = itertools.count()

    def dropout(self, p: float) -> Dropout:
        """Make a dropout layer with the next stream: 0, 1, 2, ..."""
        return Dropout(p, self.seed, next(self._streams))


class Unfilled:
    """In the place of a random generator: parameters get no content."""


UNFILLED = Unfilled()

Rng = np.random.Generator | Unfilled | int | None  # what layers take as ``rng``


def normal(rng: Rng, shape: tuple[int, ...], std: float, dtype: Any) -> np.ndarray:
    """Draw from the normal distribution with mean 0; the same numbers for every dtype.

    Parameters
    ----------
    rng : numpy.random.Generator, Unfilled or int, optional
        `Unfilled` draws nothing, see `unfilled`.
    shape : tuple of int
    std : float
        The standard deviation.
    dtype : dtype
    """
    if isinstance(rng, Unfilled):
        return unfilled(shape, dtype)
    return (np.random.default_rng(rng).standard_normal(shape) * std).astype(dtype)


def uniform(rng: Rng, shape: tuple[int, ...], most: float, dtype: Any) -> np.ndarray:
    """Draw evenly from ``-most`` to ``most``; the same numbers for every dtype.

    Parameters
    ----------
    rng, shape, dtype
        As of `normal`.
    most : float
        Largest magnitude.
    """
    if isinstance(rng, Unfilled):
        return unfilled(shape, dtype)
    return np.random.default_rng(rng).uniform(-most, most, shape).astype(dtype)


def unfilled(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Make an array of a shape that takes the memory of one number.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    """
    return np.broadcast_to(np.zeros((), dtype), shape)


def is_unfilled(array: np.ndarray) -> bool:
    """Tell whether an array is one of `unfilled`."""
    return not array.flags.writeable and not any(array.strides)
