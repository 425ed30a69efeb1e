"""Errors of layers, which say what was wrong, and where in the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class ChecksArrays:
    """The checks of inputs and gradients that layers share."""

    name: str

    def _where(self) -> str:
        """What to call this layer in an error: its class, and its place in the model."""
        return f"{type(self).__name__} {self.name!r}" if self.name else type(self).__name__

    def _check_array(self, x: Any, what: str = "the input") -> None:
        if not isinstance(x, np.ndarray):
            raise TypeError(
                f"{self._where()}: {what} must be an array, got {type(x).__name__}; "
                "numpy.asarray makes one."
            )
        if x.dtype.kind not in "fc":
            raise ValueError(
                f"{self._where()}: {what} must hold floats, got {x.dtype}; x.astype(numpy.float32) "
                "converts it."
            )

    def _check_last_axis(self, x: np.ndarray, size: int, what: str) -> None:
        self._check_array(x)
        if x.ndim == 0 or x.shape[-1] != size:
            raise ValueError(
                f"{self._where()}: expected an input of shape (..., {size}) ({what} = {size}), "
                f"got {x.shape}."
            )

    def _check_dy(self, dy: np.ndarray, shape: tuple[int, ...]) -> None:
        self._check_array(dy, f"dy, of the output's shape {shape},")
        if dy.shape != shape:
            raise ValueError(
                f"{self._where()}: backward expected dy of the output's shape {shape}, "
                f"got {dy.shape}."
            )

    def _checked_lengths(
        self, lengths: np.ndarray | Sequence[int] | None, batch: int, time: int
    ) -> np.ndarray | None:
        """Return the lengths of sequences as an array; None stands for all of the time."""
        if lengths is None:
            return None
        lengths = np.asarray(lengths)
        if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
            raise ValueError(
                f"{self._where()}: expected lengths of shape ({batch},), whole numbers, "
                f"got {lengths.dtype} of shape {lengths.shape}."
            )
        if batch and not 0 <= lengths.min() <= lengths.max() <= time:
            raise ValueError(
                f"{self._where()}: lengths must be from 0 to the time, {time}, "
                f"got {lengths.tolist()}."
            )
        return lengths.astype(np.int64)
