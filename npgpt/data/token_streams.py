"""A text as streams that are read side by side, each from its beginning to its end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npgpt.fields import check_whole
from npgpt.ops import IGNORE_INDEX


class TokenStreams:
    """A text cut in equal streams, and each stream in pieces that follow each other.

    Example ``piece * num_streams + stream``: so a batch of ``num_streams`` examples in order is the
    next piece of every stream, in the same rows each time. A model that carries its state from one
    batch to the next reads each stream as one text; see `npgpt.models.StatefulModel`.

    Parameters
    ----------
    ids : array_like of int, shape (number of tokens,)
        May be a memory map. Each is predicted once, but for the first.
    num_streams : int
        They differ by at most one token.
    piece_length : int
        Tokens of a piece. The last one of each stream has what is left: at most one more.

    Raises
    ------
    ValueError
        If a number is below 1, or a stream would have no whole piece.

    Examples
    --------
    >>> streams = TokenStreams(np.arange(12), num_streams=2, piece_length=3)
    >>> for piece in range(2):
    ...     inputs, targets, begins = streams.batch([2 * piece, 2 * piece + 1])
    ...     print(inputs.tolist(), targets.tolist(), begins.tolist())
    [[0, 1, 2], [5, 6, 7]] [[1, 2, 3], [6, 7, 8]] [True, True]
    [[3, 4, 5], [8, 9, 10]] [[4, 5, -100], [9, 10, 11]] [False, False]
    """

    def __init__(self, ids, num_streams: int, piece_length: int):
        check_whole("TokenStreams", 1, num_streams=num_streams, piece_length=piece_length)
        self.ids = np.asanyarray(ids)
        self.num_streams, self.piece_length = num_streams, piece_length
        least = num_tokens_needed(num_streams, piece_length)
        if len(self.ids) < least:
            raise ValueError(
                f"TokenStreams: {len(self.ids)} tokens are too few for {num_streams} streams with "
                f"pieces of {piece_length}, which need {least}."
            )
        predicted = len(self.ids) - 1
        self._begins = predicted * np.arange(num_streams + 1) // num_streams
        self._last = -(-(predicted // num_streams) // piece_length) - 1  # piece

    def __repr__(self) -> str:
        sizes = f"num_streams={self.num_streams}, piece_length={self.piece_length}"
        return f"TokenStreams({len(self.ids):,} tokens, {sizes})"

    def __len__(self) -> int:
        return (self._last + 1) * self.num_streams

    def batch(
        self, indices: Sequence[int] | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Stack several pieces.

        Parameters
        ----------
        indices : sequence of int
            Each in ``range(len(self))``.

        Returns
        -------
        inputs, targets : ndarray of int64, shape (len(indices), longest)
            Behind the end of a shorter piece targets are -100.
        begins : ndarray of bool, shape (len(indices),)
            Whether a piece is the first of its stream.

        Raises
        ------
        IndexError
            If there is no such piece.
        """
        indices, count = np.asarray(indices, np.int64), len(self)
        outside = indices[(indices < 0) | (indices >= count)]
        if outside.size:
            raise IndexError(
                f"TokenStreams: there is no piece {outside[0]}; there are {count}, counted from 0."
            )
        piece, stream = np.divmod(indices, self.num_streams)
        starts = self._begins[stream] + piece * self.piece_length
        stops = np.where(piece == self._last, self._begins[stream + 1], starts + self.piece_length)
        last = len(self.ids) - 1
        places = starts[:, None] + np.arange((stops - starts).max())  # (pieces, longest)
        inputs = self.ids[np.minimum(places, last)].astype(np.int64)
        targets = self.ids[np.minimum(places + 1, last)].astype(np.int64)
        targets[places >= stops[:, None]] = IGNORE_INDEX
        return inputs, targets, piece == 0


def num_tokens_needed(num_streams: int, piece_length: int) -> int:
    """Return how many tokens give every stream a whole piece, and its last token a target."""
    return num_streams * piece_length + 1


def check_in_order(who: str, dataset: object, batch_size: int, in_order: bool = True) -> None:
    """Refuse batches in which the pieces of streams would not follow each other, row by row.

    Parameters
    ----------
    who : str
        What the message begins with.
    dataset : object
        Any but `TokenStreams` may come as one likes.
    batch_size : int
        Of all processes together.
    in_order : bool

    Raises
    ------
    ValueError
        If they are shuffled, or a batch is not a piece of every stream.
    """
    if isinstance(dataset, TokenStreams) and not (in_order and batch_size == dataset.num_streams):
        count = dataset.num_streams
        raise ValueError(
            f"{who}: the pieces of {count} streams follow each other, {count} a batch: leave out "
            f"shuffle and sampler, and take batches of {count}, not of {batch_size}."
        )
