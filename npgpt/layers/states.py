"""What a block keeps of the positions that it has read, so that it need not read them again."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from npgpt import ops
from npgpt.fields import check_whole, short


class State(Protocol):
    """What one block keeps of several sequences: keys and values, a hidden state, or inputs.

    Attributes
    ----------
    lengths : ndarray of int, shape (batch,)
        How many positions of each sequence have been read.
    """

    lengths: np.ndarray

    def rows(self, begin: int, end: int) -> State:
        """Return a state of some of the sequences, in the same memory, with nothing read yet.

        Parameters
        ----------
        begin, end : int
            The first sequence, and the one behind the last.
        """

    def reorder(self, rows: np.ndarray, length: int) -> None:
        """Let sequence ``i`` go on as a copy of sequence ``rows[i]``, of ``length`` positions.

        Parameters
        ----------
        rows : ndarray of int, shape (batch,)
        length : int
            As many positions are copied, the first ones.
        """


class KeyValueCache:
    """Keys and values of the positions that one attention layer has read.

    Parameters
    ----------
    batch, n_kv_heads, capacity, head_size : int
        ``capacity`` is the longest sequence.
    dtype : dtype

    Attributes
    ----------
    keys, values : ndarray, shape (batch, n_kv_heads, capacity, head_size)
        Keys have their rotary positions already.
    lengths : ndarray of int, shape (batch,)
        How many positions of each sequence are kept.
    """

    def __init__(self, batch: int, n_kv_heads: int, capacity: int, head_size: int, dtype: Any):
        sizes = {"batch": batch, "n_kv_heads": n_kv_heads, "capacity": capacity}
        check_whole("KeyValueCache", **sizes, head_size=head_size)
        self.keys = np.empty((batch, n_kv_heads, capacity, head_size), dtype)
        self.values = np.empty_like(self.keys)
        self.lengths = np.zeros(batch, np.int64)

    def __repr__(self) -> str:
        return f"KeyValueCache(keys={short(self.keys)}, lengths={self.lengths.tolist()})"

    def rows(self, begin: int, end: int) -> KeyValueCache:
        """Return a state of some of the sequences, in the same memory, with nothing read yet.

        Parameters
        ----------
        begin, end
            As for `State.rows`.
        """
        part = KeyValueCache.__new__(KeyValueCache)
        part.keys, part.values = self.keys[begin:end], self.values[begin:end]
        part.lengths = np.zeros(end - begin, np.int64)
        return part

    def append(self, k: np.ndarray, v: np.ndarray) -> None:
        """Keep the next positions: a whole beginning, or one position of each sequence.

        Parameters
        ----------
        k, v : ndarray, shape (batch, n_kv_heads, time, head_size)

        Raises
        ------
        ValueError
            If several positions come after others.
        """
        time = k.shape[2]
        if not self.lengths.any():
            self.keys[:, :, :time], self.values[:, :, :time] = k, v
        elif time == 1:
            rows = np.arange(len(k))
            self.keys[rows, :, self.lengths] = k[:, :, 0]
            self.values[rows, :, self.lengths] = v[:, :, 0]
        else:
            raise ValueError(
                f"KeyValueCache: after the beginning one position is added at a time, got {time}."
            )
        self.lengths = self.lengths + time

    def attend(
        self, q: np.ndarray, scale: float, window: int | None, bias: np.ndarray | None
    ) -> np.ndarray:
        """Attend from the last position of each sequence, (batch, heads, 1, head_size).

        Parameters
        ----------
        q : ndarray, shape (batch, heads, 1, head_size)
        scale : float
            Multiplies the scores.
        window : int, optional
            How many positions each query sees, its own among them; all by default.
        bias : ndarray, shape (heads, distances), optional
            Added to the scores.
        """
        return ops.cached_attention_forward(
            q, self.keys, self.values, self.lengths, scale=scale, window=window, bias=bias
        )

    def reorder(self, rows: np.ndarray, length: int) -> None:
        """Let sequence ``i`` go on as a copy of sequence ``rows[i]``, of ``length`` positions.

        Parameters
        ----------
        rows, length
            As for `State.reorder`.
        """
        self.keys[:, :, :length] = self.keys[rows, :, :length]
        self.values[:, :, :length] = self.values[rows, :, :length]
        self.lengths = self.lengths[rows]


class KeptRows:
    """Arrays of a fixed size for each of several sequences: a hidden state, or the last inputs.

    Parameters
    ----------
    *arrays : ndarray, each (batch, ...)

    Attributes
    ----------
    arrays : tuple of ndarray
    lengths : ndarray of int, shape (batch,)
        How many positions of each sequence have been read.
    """

    def __init__(self, *arrays: np.ndarray):
        self.arrays = arrays
        self.lengths = np.zeros(len(arrays[0]), np.int64)

    def rows(self, begin: int, end: int) -> KeptRows:
        """Return a state of some of the sequences, in the same memory, with nothing read yet.

        Parameters
        ----------
        begin, end
            As for `State.rows`.
        """
        part = KeptRows(*(array[begin:end] for array in self.arrays))
        for array in part.arrays:
            array.fill(0)
        return part

    def reorder(self, rows: np.ndarray, length: int) -> None:
        """Let sequence ``i`` go on as a copy of sequence ``rows[i]``.

        Parameters
        ----------
        rows : ndarray of int, shape (batch,)
        length : int
            Positions of the longest, which here takes no more room than any other.
        """
        for array in self.arrays:
            array[...] = array[rows]
        self.lengths = self.lengths[rows]


class WithMemory:
    """A state of a decoder, and what it looks back at in the encoder, which stays as it is.

    Parameters
    ----------
    own : State
        Of the positions that the decoder has read.

    Attributes
    ----------
    own : State
    memory : tuple of ndarray, each (batch, ...)
        What was made of the encoder's output at the beginning; empty before.
    """

    def __init__(self, own: State):
        self.own = own
        self.memory: tuple[np.ndarray, ...] = ()

    def __repr__(self) -> str:
        return f"WithMemory({self.own!r}, memory={short(self.memory)})"

    @property
    def lengths(self) -> np.ndarray:
        """How many positions of each sequence have been read, (batch,)."""
        return self.own.lengths

    @lengths.setter
    def lengths(self, lengths: np.ndarray) -> None:
        self.own.lengths = lengths

    def rows(self, begin: int, end: int) -> WithMemory:
        """Return a state of some of the sequences, with nothing read yet, and no memory.

        Parameters
        ----------
        begin, end
            As for `State.rows`.
        """
        return WithMemory(self.own.rows(begin, end))

    def reorder(self, rows: np.ndarray, length: int) -> None:
        """Let sequence ``i`` go on as a copy of sequence ``rows[i]``, which reads the same source.

        Beams of one source have one memory, so that nothing of it moves.

        Parameters
        ----------
        rows, length
            As for `State.reorder`.
        """
        self.own.reorder(rows, length)
