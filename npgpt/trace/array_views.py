"""Small pictures of large arrays: statistics, and the cells of a heat map."""

from __future__ import annotations

import dataclasses

import numpy as np

from npgpt.fields import ShortRepr

MAX_ROWS, MAX_COLUMNS = 64, 96  # of a heat map
SATURATION = 99.5  # percentile of the magnitudes that gets the strongest colour


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Numbers about the finite entries of an array.

    Attributes
    ----------
    rms, mean, smallest, largest : float
        NaN if no entry is finite.
    zeros : float
        Share of all entries that are exactly 0.
    masked : int
        Entries that are minus infinity, as attention's scores of the future are.
    wrong : int
        Entries that are NaN or plus infinity.
    """

    rms: float
    mean: float
    smallest: float
    largest: float
    zeros: float
    masked: int
    wrong: int

    @classmethod
    def of(cls, array: np.ndarray) -> Statistics:
        """Measure an array; NaN and infinities other than ``-inf``, which masks, are ``wrong``."""
        finite = array[np.isfinite(array)].astype(np.float64)
        masked = int(np.count_nonzero(np.isneginf(array)))
        zeros = np.count_nonzero(finite == 0) / max(array.size, 1)
        wrong = array.size - finite.size - masked
        if not finite.size:
            return cls(np.nan, np.nan, np.nan, np.nan, zeros, masked, wrong)
        rms = float(np.sqrt(np.mean(np.square(finite))))
        mean, smallest, largest = float(finite.mean()), float(finite.min()), float(finite.max())
        return cls(rms, mean, smallest, largest, zeros, masked, wrong)


@dataclasses.dataclass(frozen=True, repr=False)
class HeatMap(ShortRepr):
    """The cells of a heat map.

    Attributes
    ----------
    cells : ndarray of float32, shape (rows, columns)
        NaN where no entry of the cell is finite. A cell that stands for several entries has the
        one of largest magnitude: a mean would hide what is rare, or differs in sign.
    shape : (int, int)
        Of the array.
    scale : float
        Magnitude of the strongest colour; larger ones have that colour too.
    """

    cells: np.ndarray
    shape: tuple[int, int]
    scale: float

    @property
    def is_smaller(self) -> bool:
        """Whether cells stand for several entries."""
        return self.cells.shape != self.shape


@dataclasses.dataclass(frozen=True)
class ArrayView:
    """What is kept of an array.

    Attributes
    ----------
    shape : tuple of int
    statistics : Statistics
    maps : tuple of HeatMap
        One, or one a head; none where heat maps were not asked for. All have one scale.
    by_row : tuple of float
        Root mean square of each row, of a matrix that has a heat map.
    """

    shape: tuple[int, ...]
    statistics: Statistics
    maps: tuple[HeatMap, ...] = ()
    by_row: tuple[float, ...] = ()

    @classmethod
    def of(cls, array: np.ndarray, with_maps: bool = True) -> ArrayView:
        """Look at an array: (columns,), (rows, columns), or with (heads,) before them.

        Leading axes of length 1, such as a batch of one, do not count.
        """
        maps: tuple[HeatMap, ...] = ()
        by_row: tuple[float, ...] = ()
        if with_maps and array.ndim == 2:
            by_row = tuple(np.sqrt(np.mean(np.square(array, dtype=np.float64), axis=1)).tolist())
        if with_maps:
            pictures = array.reshape(-1, *np.atleast_2d(array).shape[-2:])
            cells = [downsample(picture) for picture in pictures]
            magnitudes = np.abs(np.concatenate([c[np.isfinite(c)] for c in cells]))
            scale = float(np.percentile(magnitudes, SATURATION)) if magnitudes.size else 0.0
            if scale == 0.0 and magnitudes.size:
                scale = float(magnitudes.max())
            maps = tuple(HeatMap(c, pictures.shape[1:], scale) for c in cells)
        return cls(array.shape, Statistics.of(array), maps, by_row)


def downsample(
    array: np.ndarray, max_rows: int = MAX_ROWS, max_columns: int = MAX_COLUMNS
) -> np.ndarray:
    """Make a matrix no larger than a heat map.

    Parameters
    ----------
    array : ndarray, shape (rows, columns)
    max_rows, max_columns : int

    Returns
    -------
    ndarray of float32, shape (min(rows, max_rows), min(columns, max_columns))
        Of each block of entries the one of largest magnitude, with its sign; of infinities and
        NaN only what is left without them, and NaN if that is nothing.

    Examples
    --------
    >>> downsample(np.array([[1.0, -2.0, 0.0, 0.5]]), max_columns=2).tolist()
    [[-2.0, 0.5]]
    """
    rows, columns = (
        _starts(size, min(size, most))
        for size, most in zip(array.shape, (max_rows, max_columns), strict=True)
    )
    finite = np.where(np.isfinite(array), array, np.nan).astype(np.float32)
    largest, smallest = (
        extreme.reduceat(extreme.reduceat(finite, rows, axis=0), columns, axis=1)
        for extreme in (np.fmax, np.fmin)  # which pass over NaN
    )
    return np.where(largest >= -smallest, largest, smallest)


def _starts(size: int, parts: int) -> np.ndarray:
    return np.arange(parts) * size // parts
