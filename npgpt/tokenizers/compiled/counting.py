"""How often each pre-token occurs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from npgpt.tokenizers.compiled.hashing import hash_bytes
from npgpt.tokenizers.compiled.splitting import (
    code_point_categories,
    end_of_pre_token,
    kernel,
)


class PreTokenCounts:
    """Counts of the distinct pre-tokens of texts that are shown one after another.

    The memory it takes grows with the number of distinct pre-tokens, not with the texts.

    Examples
    --------
    >>> counts = PreTokenCounts()
    >>> counts.update(b"low low")
    >>> counts.update(b" low")
    >>> counts.to_dict()
    {b'low': 1, b' low': 2}
    """

    def __init__(self) -> None:
        self._table = np.full(1 << 12, -1, np.int64)  # slots with indices of pre-tokens
        self._starts = np.zeros(1 << 11, np.int64)  # one more than pre-tokens
        self._counts = np.zeros(1 << 11, np.int64)
        self._bytes = np.zeros(1 << 14, np.uint8)
        self._size = 0

    def update(self, content: bytes) -> None:
        """Count the pre-tokens of some bytes."""
        array = np.frombuffer(content, np.uint8)
        place = 0
        while place < array.size:
            place, self._size, needed = count_pre_tokens(
                array,
                place,
                code_point_categories(),
                self._table,
                self._starts,
                self._counts,
                self._bytes,
                self._size,
            )
            if place < array.size:
                self._grow(needed)

    @property
    def counts(self) -> np.ndarray:
        """How often each occurs, in the order of their first occurrence."""
        return self._counts[: self._size]

    @property
    def starts(self) -> np.ndarray:
        """Where each begins in `content`; one entry more, for the end of the last one."""
        return self._starts[: self._size + 1]

    @property
    def content(self) -> np.ndarray:
        """The bytes of all of them, once each."""
        return self._bytes[: self._starts[self._size]]

    def to_dict(self) -> dict[bytes, int]:
        """Return the pre-tokens and their counts."""
        content, starts = self.content.tobytes(), self.starts.tolist()
        words = (content[start:end] for start, end in pairwise(starts))
        return dict(zip(words, self.counts.tolist(), strict=True))

    def _grow(self, needed: int) -> None:
        if 2 * (self._size + 2) > self._table.size:
            self._table = np.full(2 * self._table.size, -1, np.int64)
            self._starts = np.resize(self._starts, 2 * self._starts.size)
            self._counts = np.append(self._counts, np.zeros_like(self._counts))
            fill_table(self._table, self._starts, self._bytes, self._size)
        used = int(self._starts[self._size])
        if used + needed > self._bytes.size:
            room = np.zeros(max(2 * self._bytes.size, used + needed), np.uint8)
            room[:used] = self._bytes[:used]
            self._bytes = room


@kernel
def count_pre_tokens(content, start, categories, table, starts, counts, kept, size):
    """Count from byte ``start`` on, until the end or until there is no room for a new pre-token.

    Returns
    -------
    place : int
        The byte to go on at.
    size : int
        Number of distinct pre-tokens.
    needed : int
        Length of the pre-token that found no room, or 0.
    """
    mask = np.int64(table.size - 1)
    while start < content.size:
        end = end_of_pre_token(content, start, categories)
        slot = np.int64(hash_bytes(content, start, end)) & mask
        while table[slot] >= 0 and not is_equal(content, start, end, kept, starts, table[slot]):
            slot = (slot + 1) & mask
        word = table[slot]
        if word < 0:
            place, length = starts[size], end - start
            if 2 * (size + 2) > table.size or place + length > kept.size:
                return start, size, length
            kept[place : place + length] = content[start:end]
            word = size
            table[slot] = word
            counts[word] = 0
            size += 1
            starts[size] = place + length
        counts[word] += 1
        start = end
    return start, size, 0


@kernel
def is_equal(content, start, end, kept, starts, word):
    """Say whether these bytes are the pre-token of that number."""
    place = starts[word]
    if starts[word + 1] - place != end - start:
        return False
    for k in range(end - start):  # noqa: SIM110  (a loop that Numba compiles)
        if kept[place + k] != content[start + k]:
            return False
    return True


@kernel
def fill_table(table, starts, kept, size):
    """Put all pre-tokens into a new table."""
    mask = np.int64(table.size - 1)
    for word in range(size):
        slot = np.int64(hash_bytes(kept, starts[word], starts[word + 1])) & mask
        while table[slot] >= 0:
            slot = (slot + 1) & mask
        table[slot] = word
