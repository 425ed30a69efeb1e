"""Overlapping windows in which every token of a text is predicted once, with much before it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npgpt.fields import check_whole
from npgpt.ops import IGNORE_INDEX


class StridedWindows:
    """Batches that predict each token of a text once, after at least ``context_length - stride``.

    Window ``i`` holds the tokens from ``i * stride`` on, ``context_length`` at most. Of each window
    only the tokens count that the window before did not hold, so that those have a long past; the
    smaller the stride, the longer the past, and the longer it takes. This is the recipe of Hugging
    Face's page on perplexity. The text's first token is never predicted; with a stride of
    ``context_length`` neither is the first of any window.

    Parameters
    ----------
    ids : array_like of int, shape (number of tokens,)
        May be a memory map, and shorter than the context.
    context_length : int
    stride : int, optional
        From the beginning of one window to that of the next; half of ``context_length`` by default.
    batch_size : int
        Windows of a batch.

    Raises
    ------
    ValueError
        If a number is out of range, or there are fewer than two tokens.

    Examples
    --------
    >>> windows = StridedWindows([10, 11, 12, 13, 14, 15], context_length=4, stride=2)
    >>> for inputs, targets in windows:
    ...     print(inputs.tolist(), targets.tolist())
    [[10, 11, 12]] [[11, 12, 13]]
    [[12, 13, 14]] [[-100, 14, 15]]
    """

    def __init__(self, ids, context_length: int, stride: int | None = None, batch_size: int = 1):
        check_whole("StridedWindows", context_length=context_length, batch_size=batch_size)
        stride = max(1, context_length // 2) if stride is None else stride
        check_whole("StridedWindows", stride=stride)
        if context_length < 2 or not 1 <= stride <= context_length or batch_size < 1:
            raise ValueError(
                "StridedWindows: context_length must be at least 2, stride from 1 to that, and "
                f"batch_size at least 1, got {context_length}, {stride} and {batch_size}."
            )
        ids = np.asanyarray(ids)
        if len(ids) < 2:
            raise ValueError(f"StridedWindows: a text of {len(ids)} tokens predicts none.")
        self.ids, self.context_length, self.stride = ids, context_length, stride
        self.batch_size = batch_size
        # the last window is the first one that reaches the end
        count = max(0, -(-(len(ids) - context_length) // stride)) + 1
        begins = [i * stride for i in range(count)]
        if len(ids) - begins[-1] < 2:  # a token alone, where windows do not overlap
            begins.pop()
        full = begins[:-1]  # the last may be shorter than the others
        self._batches = [full[i : i + batch_size] for i in range(0, len(full), batch_size)]
        self._batches.append(begins[-1:])

    def __repr__(self) -> str:
        sizes = f"context_length={self.context_length}, stride={self.stride}"
        return f"StridedWindows({len(self.ids):,} tokens, {sizes}, batch_size={self.batch_size})"

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for begins in self._batches:
            windows = [self.ids[begin : begin + self.context_length] for begin in begins]
            tokens = np.stack(windows).astype(np.int64)
            targets = tokens[:, 1:].copy()
            for row, begin in zip(targets, begins, strict=True):
                if begin:
                    seen = self.context_length - self.stride  # tokens of the window before
                    row[: max(0, seen - 1)] = IGNORE_INDEX
            yield tokens[:, :-1], targets
