"""Sliding windows: inputs, and the same tokens one place further as targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npgpt.fields import check_whole


class TokenWindows:
    """Windows over a sequence of token ids.

    Window ``i`` begins at ``i * stride``: its inputs are the ``context_length`` tokens from there,
    its targets the ``context_length`` tokens from one place further.

    Parameters
    ----------
    ids : array_like of int, shape (number of tokens,)
        May be a memory map.
    context_length : int
        Tokens in the inputs of a window, and in its targets.
    stride : int, optional
        From the beginning of one window to that of the next; ``context_length`` by default, so
        that windows do not overlap.

    Raises
    ------
    ValueError
        If a number is below 1, or there are too few ids for one window.

    Examples
    --------
    >>> windows = TokenWindows([10, 11, 12, 13, 14, 15, 16], context_length=4, stride=2)
    >>> len(windows)
    2
    >>> inputs, targets = windows[1]
    >>> inputs.tolist(), targets.tolist()
    ([12, 13, 14, 15], [13, 14, 15, 16])
    """

    def __init__(self, ids, context_length: int, stride: int | None = None):
        ids = np.asanyarray(ids)
        if ids.shape == (0,):
            ids = ids.astype(np.int64)  # an empty list has no integers to tell its type by
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise ValueError(
                f"TokenWindows: ids must be integers in one dimension, got dtype {ids.dtype} and "
                f"shape {ids.shape}."
            )
        stride = context_length if stride is None else stride
        check_whole("TokenWindows", 1, context_length=context_length, stride=stride)
        if len(ids) <= context_length:
            raise ValueError(
                f"TokenWindows: {len(ids)} tokens are too few for a context of {context_length}, "
                f"which needs {context_length + 1}."
            )
        self.ids, self.context_length, self.stride = ids, context_length, stride
        self._places = np.arange(context_length + 1)

    def __repr__(self) -> str:
        sizes = f"context_length={self.context_length}, stride={self.stride}"
        return f"TokenWindows({len(self.ids):,} tokens, {sizes})"

    def __len__(self) -> int:
        return (len(self.ids) - self.context_length - 1) // self.stride + 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        inputs, targets = self.batch([index])
        return inputs[0], targets[0]

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Stack several windows.

        Parameters
        ----------
        indices : sequence of int
            Each in ``range(-len(self), len(self))``.

        Returns
        -------
        inputs, targets : ndarray of int64, shape (len(indices), context_length)

        Raises
        ------
        IndexError
            If there is no such window.
        """
        indices, count = np.asarray(indices, np.int64), len(self)
        outside = indices[(indices < -count) | (indices >= count)]
        if outside.size:
            raise IndexError(
                f"TokenWindows: there is no window {outside[0]}; there are {count}, counted from 0."
            )
        starts = np.where(indices < 0, indices + count, indices) * self.stride
        tokens = self.ids[starts[:, None] + self._places].astype(np.int64)
        return tokens[:, :-1], tokens[:, 1:]
