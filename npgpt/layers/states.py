"""Keys and values that attention keeps of positions it has seen, so that none is computed twice."""

from __future__ import annotations

import numpy as np

from npgpt import ops


class KeyValueCache:
    """What one attention layer keeps; `MultiHeadAttention.cache` while a model generates.

    Sequences of a batch begin at index 0 each and may have different lengths: nothing is padded.

    Parameters
    ----------
    batch, n_kv_heads, capacity, head_size : int
        ``capacity`` is the longest sequence.
    dtype : dtype

    Attributes
    ----------
    keys, values : ndarray, shape (batch, n_kv_heads, capacity, head_size)
        Keys have their rotary positions already.
    lengths : ndarray of int, shape (batch,), or None
        While one position of each sequence goes through the layer: how many each has with it.
        None while whole sequences go through, from their first position.
    """

    def __init__(self, batch: int, n_kv_heads: int, capacity: int, head_size: int, dtype):
        self.keys = np.empty((batch, n_kv_heads, capacity, head_size), dtype)
        self.values = np.empty_like(self.keys)
        self.lengths: np.ndarray | None = None

    def rows(self, begin: int, end: int) -> KeyValueCache:
        """Return a view of some sequences."""
        part = KeyValueCache.__new__(KeyValueCache)
        part.keys, part.values = self.keys[begin:end], self.values[begin:end]
        part.lengths = None
        return part

    def fill(self, k: np.ndarray, v: np.ndarray) -> None:
        """Keep all positions of sequences, (batch, n_kv_heads, time, head_size)."""
        time = k.shape[2]
        self.keys[:, :, :time] = k
        self.values[:, :, :time] = v

    def attend(self, q, k, v, scale, window, bias) -> np.ndarray:
        """Keep one more position of each sequence and attend from it, (batch, heads, 1, ...)."""
        assert self.lengths is not None
        rows, places = np.arange(len(q)), self.lengths - 1
        self.keys[rows, :, places] = k[:, :, 0]
        self.values[rows, :, places] = v[:, :, 0]
        return ops.cached_attention_forward(
            q, self.keys, self.values, self.lengths, scale=scale, window=window, bias=bias
        )

    def reorder(self, rows: np.ndarray, length: int) -> None:
        """Let sequence ``i`` go on as a copy of sequence ``rows[i]``, of ``length`` positions."""
        self.keys[:, :, :length] = self.keys[rows, :, :length]
        self.values[:, :, :length] = self.values[rows, :, :length]
