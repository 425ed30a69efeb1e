"""Every character a token."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from npgpt.tokenizers.base import (
    END_OF_TEXT,
    UNKNOWN,
    JSONTokenizer,
    checked_ids,
    checked_text,
    documents_of,
)

ERROR = "error"


class CharTokenizer(JSONTokenizer):
    """A vocabulary of characters, with ids in the order of their code points.

    Parameters
    ----------
    characters : iterable of str
        The vocabulary; sorted, and each taken once.
    end_of_text : bool
        Whether ``<|endoftext|>`` is a token too; it has the last id.
    unknown : {"error", "<|unk|>"}
        What becomes of a character that is not in the vocabulary: an error that names it, or a
        token of its own, which comes after the characters.

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

    FORMAT = "npgpt-char"
    joins = True

    def __init__(self, characters: Iterable[str], end_of_text: bool = True, unknown: str = ERROR):
        if unknown not in (ERROR, UNKNOWN):
            raise ValueError(
                f"CharTokenizer: unknown must be {ERROR} or {UNKNOWN}, got {unknown!r}."
            )
        distinct = set(characters)
        if not distinct:
            raise ValueError("CharTokenizer: a vocabulary needs at least one character.")
        for entry in distinct:
            if not isinstance(entry, str) or len(entry) != 1:
                raise ValueError(
                    f"CharTokenizer: {entry!r} is not a single character; give a string, or a list "
                    "of strings of length 1."
                )
        self.characters = sorted(distinct)
        self._code_points = np.array([ord(c) for c in self.characters], np.uint32)  # sorted
        self._end_of_text, self.unknown = end_of_text, unknown

    @classmethod
    def train(
        cls, text: str | Iterable[str], end_of_text: bool = True, unknown: str = ERROR
    ) -> CharTokenizer:
        """Take the characters that a text, or several, is made of.

        Parameters
        ----------
        text : str or iterable of str
        end_of_text : bool
            Whether ``<|endoftext|>`` is a token too; without it, `end_of_text_id` is None.
        unknown : {"error", "<|unk|>"}

        Raises
        ------
        ValueError
            If the text is empty.
        """
        characters: set[str] = set()
        for document in documents_of(text, "CharTokenizer"):
            characters.update(document)
        if not characters:
            raise ValueError("CharTokenizer: the text to train on is empty.")
        return cls(characters, end_of_text, unknown)

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return len(self._names)

    @property
    def end_of_text_id(self) -> int | None:
        """Id of ``<|endoftext|>``, or None."""
        return len(self._names) - 1 if self._end_of_text else None

    @property
    def unknown_id(self) -> int | None:
        """Id of ``<|unk|>``, or None."""
        return len(self.characters) if self.unknown == UNKNOWN else None

    @property
    def _names(self) -> list[str]:
        return [
            *self.characters,
            *[UNKNOWN] * (self.unknown == UNKNOWN),
            *[END_OF_TEXT] * self._end_of_text,
        ]

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
            If a character is not in the vocabulary, and there is no ``<|unk|>``.
        """
        checked_text(text, "CharTokenizer")
        # surrogatepass: any Python string has code points, even one that is not valid Unicode
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        ids = np.searchsorted(self._code_points, points)
        ids[ids == len(self._code_points)] = 0
        unknown = np.flatnonzero(self._code_points[ids] != points)
        if unknown.size and self.unknown_id is not None:
            ids[unknown] = self.unknown_id
        elif unknown.size:
            place = int(unknown[0])
            raise ValueError(
                f"CharTokenizer: the character {text[place]!r} at position {place} is not in the "
                f"vocabulary of {len(self.characters)} characters; leave it out, train on a "
                f"text that has it, or make the tokenizer with unknown={UNKNOWN!r}."
            )
        return ids.astype(np.int64)

    def encode_batch(self, texts: Iterable[str]) -> list[np.ndarray]:
        """Turn texts into ids, each for itself; faster than one by one if they are short."""
        texts = [checked_text(text, "CharTokenizer") for text in texts]
        try:
            ids = self.encode("".join(texts))
        except ValueError:  # again, for an error that tells the place in the text itself
            return super().encode_batch(texts)
        ends = np.cumsum([len(text) for text in texts]).tolist()
        return [ids[end - len(text) : end] for text, end in zip(texts, ends, strict=True)]

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text; special tokens are written out.

        Raises
        ------
        ValueError
            If an id is outside the vocabulary.
        """
        pieces = self._names
        checked = checked_ids(ids, self.vocab_size, "CharTokenizer")
        return "".join([pieces[i] for i in checked.tolist()])

    def bytes_per_token(self) -> np.ndarray:
        """Return the length of each token in bytes of UTF-8; special tokens have 0."""
        lengths = [len(c.encode("utf-8", "surrogatepass")) for c in self.characters]
        return np.array(lengths + [0] * (self.vocab_size - len(lengths)), np.int64)

    def _content(self) -> dict:
        return {
            # one by one: in one string, JSON would read two halves of a surrogate pair as a whole
            "characters": self.characters,
            "end_of_text": self._end_of_text,
            # not in files of before there was a choice
            **({} if self.unknown == ERROR else {"unknown": self.unknown}),
        }

    @classmethod
    def _from_content(cls, content: dict) -> CharTokenizer:
        if not isinstance(content["end_of_text"], bool):
            raise ValueError(f"its end_of_text is {content['end_of_text']!r}, not true or false")
        unknown = content.get("unknown", ERROR)
        tokenizer = cls(content["characters"], content["end_of_text"], unknown)
        if tokenizer.characters != content["characters"]:  # sorting them would change the ids
            raise ValueError("its characters are not in order, or one is there twice")
        return tokenizer
