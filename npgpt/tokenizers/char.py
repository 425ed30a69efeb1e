"""Every character a token."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from npgpt.files import write_atomically
from npgpt.tokenizers.base import END_OF_TEXT, as_documents, checked_ids

CHAR_FORMAT = "npgpt-char"


class CharTokenizer:
    """A vocabulary of characters, with ids in the order of their code points.

    Parameters
    ----------
    characters : iterable of str
        The vocabulary; sorted, and each taken once.
    end_of_text : bool
        Whether ``<|endoftext|>`` is a token too; it has the last id.

    Raises
    ------
    ValueError
        If there is no character, or one is not a single character.

    Examples
    --------
    >>> tokenizer = CharTokenizer.train("hello")
    >>> tokenizer.encode("hole").tolist()
    [1, 3, 2, 0]
    >>> tokenizer.decode([1, 0, 2, 2, 3])
    'hello'
    """

    def __init__(self, characters: Iterable[str], end_of_text: bool = True):
        self.characters = sorted(set(characters))
        if not self.characters:
            raise ValueError("CharTokenizer: a vocabulary needs at least one character.")
        if not all(isinstance(c, str) and len(c) == 1 for c in self.characters):
            raise ValueError("CharTokenizer: every entry must be a single character.")
        self._code_points = np.array([ord(c) for c in self.characters], np.uint32)  # sorted
        self._end_of_text = end_of_text

    @classmethod
    def train(cls, text: str | Iterable[str], end_of_text: bool = True) -> CharTokenizer:
        """Take the characters that a text, or several, is made of."""
        characters: set[str] = set()
        for document in as_documents(text):
            characters.update(document)
        if not characters:
            raise ValueError("CharTokenizer: the text to train on is empty.")
        return cls(characters, end_of_text)

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return len(self.characters) + self._end_of_text

    @property
    def end_of_text_id(self) -> int | None:
        """Id of ``<|endoftext|>``, or None."""
        return len(self.characters) if self._end_of_text else None

    def encode(self, text: str) -> np.ndarray:
        """Turn a text into ids.

        Parameters
        ----------
        text : str
            ``<|endoftext|>`` in it is thirteen ordinary characters.

        Returns
        -------
        ndarray of int64, shape (len(text),)

        Raises
        ------
        ValueError
            If a character is not in the vocabulary.
        """
        # surrogatepass: any Python string has code points, even one that is not valid Unicode
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        ids = np.searchsorted(self._code_points, points)
        ids[ids == len(self._code_points)] = 0
        unknown = np.flatnonzero(self._code_points[ids] != points)
        if unknown.size:
            place = int(unknown[0])
            raise ValueError(
                f"CharTokenizer: the character {text[place]!r} at position {place} is not in the "
                f"vocabulary of {len(self.characters)} characters; leave it out, or train on a "
                "text that has it."
            )
        return ids.astype(np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text; ``<|endoftext|>`` is written out.

        Raises
        ------
        ValueError
            If an id is outside the vocabulary.
        """
        pieces = [*self.characters, END_OF_TEXT]
        return "".join(pieces[i] for i in checked_ids(ids, self.vocab_size, "CharTokenizer"))

    def bytes_per_token(self) -> np.ndarray:
        """Return the length of each token in bytes of UTF-8; ``<|endoftext|>`` has 0."""
        lengths = [len(c.encode("utf-8", "surrogatepass")) for c in self.characters]
        return np.array(lengths + [0] * self._end_of_text, np.int64)

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as JSON."""
        content = {
            "format": CHAR_FORMAT,
            "characters": "".join(self.characters),
            "end_of_text": self._end_of_text,
        }
        write_atomically(path, (json.dumps(content) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> CharTokenizer:
        """Read what `save` wrote; raises ValueError if the file is something else."""
        from npgpt.tokenizers.files import load_as

        return load_as(cls, path)

    @classmethod
    def from_dict(cls, content: dict) -> CharTokenizer:
        """Make a tokenizer from the JSON of `save`."""
        return cls(content["characters"], content["end_of_text"])
