"""Every word and every punctuation mark a token."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from npgpt.tokenizers.base import (
    END_OF_TEXT,
    UNKNOWN,
    JSONTokenizer,
    checked_ids,
    checked_text,
    documents_of,
)

# a punctuation mark, two dashes, or one character of white space; what is between them is a word
SEPARATOR = re.compile(r"""([,.:;?_!"()']|--|\s)""")
CLOSING, OPENING = set(",.:;?!)"), {"("}
JOINING = {"'", "_"}  # inside a word, as far as one can tell


class WordTokenizer(JSONTokenizer):
    """A vocabulary of words and punctuation marks, with ids in alphabetical order.

    Parameters
    ----------
    words : iterable of str
        The vocabulary; sorted, and each taken once.
    keep_whitespace : bool
        Whether each character of white space is a token, as code needs it; else it only separates.

    Raises
    ------
    ValueError
        If there is no word, or one of them could not be cut out of a text.

    Notes
    -----
    After the words come ``<|unk|>``, for words that are not in the vocabulary, and
    ``<|endoftext|>``.

    Examples
    --------
    >>> tokenizer = WordTokenizer.train("The sea, the shore.")
    >>> tokenizer.words
    [',', '.', 'The', 'sea', 'shore', 'the']
    >>> tokenizer.encode("the sea-side, the sea.").tolist()
    [5, 6, 0, 5, 3, 1]
    >>> tokenizer.decode([2, 3, 0, 5, 4, 1])
    'The sea, the shore.'
    """

    FORMAT = "npgpt-word"

    def __init__(self, words: Iterable[str], keep_whitespace: bool = False):
        self.words = sorted(set(words))
        if not self.words:
            raise ValueError("WordTokenizer: a vocabulary needs at least one word.")
        for word in self.words:
            if [*split_words(word, keep_whitespace)] != [word]:
                raise ValueError(
                    f"WordTokenizer: {word!r} is not one word, nor one punctuation mark"
                    f"{', nor one character of white space' * keep_whitespace}."
                )
        self.keep_whitespace = keep_whitespace
        self.joins = keep_whitespace
        self._ids = {word: i for i, word in enumerate(self.words)}

    @classmethod
    def train(
        cls,
        text: str | Iterable[str],
        vocab_size: int | None = None,
        keep_whitespace: bool = False,
    ) -> WordTokenizer:
        """Take the words that a text, or several, is made of.

        Parameters
        ----------
        text : str or iterable of str
            An iterable is gone through once, and its texts are not kept.
        vocab_size : int, optional
            At most so many tokens, ``<|unk|>`` and ``<|endoftext|>`` among them: the most frequent
            words are taken, of equally frequent ones the first in alphabetical order.
        keep_whitespace : bool

        Raises
        ------
        ValueError
            If the text has no word, or ``vocab_size`` is below 3.
        """
        if vocab_size is not None and vocab_size < 3:
            raise ValueError(
                f"WordTokenizer: vocab_size must be at least 3 (a word, {UNKNOWN} and "
                f"{END_OF_TEXT}), got {vocab_size}."
            )
        counts: Counter[str] = Counter()
        for document in documents_of(text, "WordTokenizer"):
            counts.update(split_words(document, keep_whitespace))
        if not counts:
            raise ValueError("WordTokenizer: the text to train on is empty.")
        words = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(words if vocab_size is None else words[: vocab_size - 2], keep_whitespace)

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return len(self.words) + 2

    @property
    def unknown_id(self) -> int:
        """Id of ``<|unk|>``."""
        return len(self.words)

    @property
    def end_of_text_id(self) -> int:
        """Id of ``<|endoftext|>``, the last one."""
        return len(self.words) + 1

    def encode(self, text: str) -> np.ndarray:
        """Turn a text into ids; words that are not in the vocabulary become ``<|unk|>``.

        Parameters
        ----------
        text : str
            ``<|unk|>`` and ``<|endoftext|>`` in it are words like others.

        Returns
        -------
        ndarray of int64, shape (number of tokens,)
        """
        checked_text(text, "WordTokenizer")
        unknown, ids = self.unknown_id, self._ids
        found = [ids.get(word, unknown) for word in split_words(text, self.keep_whitespace)]
        return np.array(found, np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text; special tokens are written out.

        Where white space is not a token, a space is put between tokens, but not before a closing
        mark, after an opening one, or around an apostrophe. Quotation marks open and close in
        turns.

        Raises
        ------
        ValueError
            If an id is outside the vocabulary.
        """
        names = [*self.words, UNKNOWN, END_OF_TEXT]
        tokens = [names[i] for i in checked_ids(ids, self.vocab_size, "WordTokenizer").tolist()]
        return "".join(tokens if self.keep_whitespace else with_spaces(tokens))

    def bytes_per_token(self) -> np.ndarray:
        """Return the length of each token in bytes of UTF-8; special tokens have 0."""
        lengths = [len(word.encode("utf-8", "surrogatepass")) for word in self.words]
        return np.array([*lengths, 0, 0], np.int64)

    def _content(self) -> dict:
        return {"keep_whitespace": self.keep_whitespace, "words": self.words}

    @classmethod
    def _from_content(cls, content: dict) -> WordTokenizer:
        if not isinstance(content["keep_whitespace"], bool):
            raise ValueError(
                f"its keep_whitespace is {content['keep_whitespace']!r}, not a boolean"
            )
        words = content["words"]
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("its words are not a list of strings")
        tokenizer = cls(words, content["keep_whitespace"])
        if tokenizer.words != words:  # sorting them would change the ids
            raise ValueError("its words are not in order, or one is there twice")
        return tokenizer


def split_words(text: str, keep_whitespace: bool = False) -> Iterator[str]:
    """Cut a text in words, punctuation marks and, if they are kept, characters of white space.

    Examples
    --------
    >>> list(split_words("Hello, world. Is this-- a test?"))
    ['Hello', ',', 'world', '.', 'Is', 'this', '--', 'a', 'test', '?']
    """
    for part in SEPARATOR.split(text):
        if part and (keep_whitespace or not part.isspace()):
            yield part


def with_spaces(tokens: Iterable[str]) -> Iterator[str]:
    r"""Yield words and marks with the spaces that a reader expects between them.

    Examples
    --------
    >>> "".join(with_spaces(['"', "It", "'", "s", "here", ",", '"', "she", "said", "(", "so", ")"]))
    '"It\'s here," she said (so)'
    """
    quoted = False
    before = None  # the token before; None where no space may follow
    for token in tokens:
        opens_quote = token == '"' and not quoted
        closes = token in CLOSING or token in JOINING or (token == '"' and quoted)
        if before is not None and not closes:
            yield " "
        yield token
        if token == '"':
            quoted = not quoted
        glued = token in OPENING or token in JOINING or opens_quote
        before = None if glued else token
