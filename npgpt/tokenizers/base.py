"""What every tokenizer can do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

END_OF_TEXT = "<|endoftext|>"


class Tokenizer(Protocol):
    """From text to ids and back.

    Attributes
    ----------
    vocab_size : int
        Ids are ``0 .. vocab_size - 1``.
    end_of_text_id : int or None
        The token between documents, if there is one.
    """

    @property
    def vocab_size(self) -> int: ...  # noqa: D102

    @property
    def end_of_text_id(self) -> int | None: ...  # noqa: D102

    def encode(self, text: str) -> np.ndarray:
        """Turn a text into ids, an int64 array."""

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into the text they stand for."""

    def bytes_per_token(self) -> np.ndarray:
        """Return each token's length in bytes of UTF-8, (vocab_size,); special tokens have 0."""

    def save(self, path: str | Path) -> None:
        """Write the tokenizer to a file."""


def checked_ids(ids: Iterable[int], vocab_size: int, who: str) -> np.ndarray:
    """Return ids as an array, if each is a token's.

    Parameters
    ----------
    ids : iterable of int
    vocab_size : int
    who : str
        The class that asks, for the error.

    Returns
    -------
    ndarray of int64, shape (number of ids,)

    Raises
    ------
    ValueError
        If ids are not integers in one dimension, or one is outside the vocabulary.
    """
    array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids))
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{who}: ids must be a sequence of integers, got dtype {array.dtype} and shape "
            f"{array.shape}."
        )
    outside = np.flatnonzero((array < 0) | (array >= vocab_size))
    if outside.size:
        place = int(outside[0])
        raise ValueError(
            f"{who}: id {array[place]} at position {place} is outside the vocabulary of "
            f"{vocab_size} tokens."
        )
    return array.astype(np.int64)


def as_documents(text: str | Iterable[str]) -> list[str]:
    """Take one text, or several."""
    return [text] if isinstance(text, str) else list(text)
