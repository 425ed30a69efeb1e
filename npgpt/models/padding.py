"""Texts of different lengths in one batch, and the positions of them that count."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from npgpt.fields import short_repr
from npgpt.layers import CrossEntropy


def checked_lengths(lengths: Any, shape: tuple[int, ...], who: str) -> np.ndarray | None:
    """Return the lengths of a batch's texts as an array; None stays None.

    Parameters
    ----------
    lengths : array_like of int, shape (batch,), or None
    shape : tuple of int
        (batch, time), of the token ids.
    who : str
        The class that asks, for the error.

    Raises
    ------
    ValueError
        If there is not one a text, or one is not in ``1 .. time``.
    """
    if lengths is None:
        return None
    lengths = np.asarray(lengths)
    if (
        lengths.shape != shape[:1]
        or lengths.dtype.kind not in "iu"
        or not np.all((lengths >= 1) & (lengths <= shape[1]))
    ):
        raise ValueError(
            f"{who}: lengths must be in 1 to {shape[1]}, one a text, got {lengths.tolist()} for "
            f"token ids of shape {shape}."
        )
    return lengths


def num_there(token_ids: np.ndarray, lengths: np.ndarray | None) -> int:
    """Count the tokens of a batch, what its rows are filled up with left out."""
    return int(np.size(token_ids) if lengths is None else np.sum(lengths))


def num_counted(targets: Any, lengths: Any, loss: CrossEntropy) -> int:
    """Count the positions that `Counted.of` finds."""
    return int(np.count_nonzero(_there(targets, lengths, loss) != loss.ignore_index))


def _there(targets: Any, lengths: Any, loss: CrossEntropy) -> np.ndarray:
    """Return the targets of a batch; those in padded places do not count."""
    targets = np.asarray(targets)
    if lengths is None or targets.ndim != 2:
        return targets
    there = np.arange(targets.shape[1]) < np.asarray(lengths)[:, None]
    return np.where(there, targets, loss.ignore_index)


class Counted(NamedTuple):
    """The positions of a batch that have a target.

    Attributes
    ----------
    places : ndarray of int, shape (positions,)
        Their numbers when all positions of the batch stand in one row.
    targets : ndarray of int, shape (positions,)
    """

    places: np.ndarray
    targets: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)

    @classmethod
    def of(
        cls,
        targets: Any,
        lengths: np.ndarray | None,
        logits_shape: tuple[int, ...],
        loss: CrossEntropy,
    ) -> Counted:
        """Find them: those that are not ignored, and stand before their text's end.

        Parameters
        ----------
        targets : array_like of int, shape (batch, time)
        lengths : ndarray of int, shape (batch,), or None
        logits_shape : tuple of int
            (batch, time, classes).
        loss : CrossEntropy
            Which says what a target of a position is that does not count.

        Raises
        ------
        ValueError
            If shapes do not fit, a target is outside the vocabulary, or none counts.
        """
        targets = _there(targets, lengths, loss)
        targets = loss.checked_targets(targets, logits_shape).reshape(-1)
        places = np.flatnonzero(targets != loss.ignore_index)
        return cls(places, targets[places])

    def rows(self, x: np.ndarray) -> np.ndarray:
        """Take their rows of (batch, time, features): (positions, features)."""
        return x.reshape(-1, x.shape[-1])[self.places]

    def rows_backward(self, drows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Undo `rows`: the gradient of ``x``, of its shape; 0 at all other positions."""
        dx = np.zeros(shape, drows.dtype)
        dx.reshape(-1, shape[-1])[self.places] = drows
        return dx
