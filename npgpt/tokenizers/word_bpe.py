"""Byte-pair encoding of words, as it is taught: letters, and a mark where a word ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from npgpt.tokenizers.base import (
    END_OF_TEXT,
    UNKNOWN,
    JSONTokenizer,
    checked_ids,
    checked_text,
    documents_of,
)
from npgpt.tokenizers.forms import forms
from npgpt.tokenizers.merge_step import MergeStep
from npgpt.tokenizers.reference import apply_merges
from npgpt.tokenizers.tokenizer_json import Pair

END_OF_WORD = "</w>"


class WordBPETokenizer(JSONTokenizer):
    """Characters of words, merged pair by pair (Sennrich, Haddow and Birch 2016, section 3.2).

    The teaching form of `BPETokenizer`: words are what stands between white space, a mark
    ``</w>`` ends each, and the same algorithm learns the merges. A character that was not in the
    training text is unknown.

    Parameters
    ----------
    characters : iterable of str
        The characters; sorted, and each taken once. ``</w>`` comes first, then they.
    merges : iterable of (int, int)
        Pairs of ids, in the order in which they were learned. After them come ``<|unk|>`` and
        ``<|endoftext|>``.

    Raises
    ------
    ValueError
        If a character is none, or a merge uses an id that is not there yet.

    Examples
    --------
    >>> text = "low low low low low lower lower newest newest newest newest newest newest"
    >>> tokenizer = WordBPETokenizer.train(text, num_merges=4, record=True)
    >>> for step in tokenizer.steps:
    ...     print(step.left, step.right, step.count, step.tokens_left)
    w e 8 66
    l o 7 59
    e we 6 53
    n ewe 6 47
    >>> tokenizer.tokenize("newer")
    ['newe', 'r', '</w>']
    """

    FORMAT = "npgpt-word-bpe"

    def __init__(self, characters: Iterable[str], merges: Iterable[Pair] = ()):
        self.characters = sorted(set(characters))
        self.merges = [(int(left), int(right)) for left, right in merges]
        self.steps: list[MergeStep] | None = None
        for character in self.characters:
            if not isinstance(character, str) or len(character) != 1 or character.isspace():
                raise ValueError(
                    f"WordBPETokenizer: {character!r} is not a single character of a word."
                )
        tokens = [END_OF_WORD, *self.characters]
        for number, (left, right) in enumerate(self.merges):
            if not (0 <= left < len(tokens) and 0 <= right < len(tokens)):
                raise ValueError(
                    f"WordBPETokenizer: merge {number} joins {left} and {right}, but there are "
                    f"only {len(tokens)} tokens by then."
                )
            tokens.append(tokens[left] + tokens[right])
        self.tokens = [*tokens, UNKNOWN, END_OF_TEXT]
        self._ids = {character: i for i, character in enumerate(self.characters, 1)}
        first = len(self.characters) + 1
        self._merged = {pair: first + i for i, pair in enumerate(self.merges)}
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def train(
        cls,
        text: str | Iterable[str],
        vocab_size: int | None = None,
        num_merges: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        record: bool = False,
    ) -> WordBPETokenizer:
        """Learn merges from a text, or several.

        The most frequent pair is merged first; of equally frequent ones, that with the lowest ids.
        It ends with the vocabulary's size, the number of merges, or when no pair occurs more than
        once, whichever comes first.

        Parameters
        ----------
        text : str or iterable of str
        vocab_size : int, optional
            The mark, the characters, the merges, ``<|unk|>`` and ``<|endoftext|>``.
        num_merges : int, optional
        progress : function, optional
            Called with (merges done, merges in all).
        record : bool
            Keep a table of the merges in the attribute ``steps``, a list of `MergeStep`.

        Raises
        ------
        ValueError
            If the text is empty, or the vocabulary is too small for its characters.
        """
        words: Counter[str] = Counter()
        for document in documents_of(text, "WordBPETokenizer"):
            words.update(document.split())
        if not words:
            raise ValueError("WordBPETokenizer: the text to train on is empty.")
        start = cls("".join(words))
        wanted = len(words) + sum(map(len, words))  # more merges than there can be
        if num_merges is not None:
            wanted = min(wanted, num_merges)
        if vocab_size is not None:
            if vocab_size < start.vocab_size:
                raise ValueError(
                    f"WordBPETokenizer: vocab_size must be at least {start.vocab_size} (the "
                    f"characters of the text, {END_OF_WORD}, {UNKNOWN} and {END_OF_TEXT}), got "
                    f"{vocab_size}."
                )
            wanted = min(wanted, vocab_size - start.vocab_size)
        spelled = [start._spell(word) for word in words]
        starts = np.cumsum([0, *map(len, spelled)])
        ids = np.array([i for word in spelled for i in word], np.int64)
        counts = np.array([*words.values()], np.int64)
        merges, table = forms().learn_merges(
            ids, starts, counts, wanted, len(start.characters) + 1, progress
        )
        tokenizer = cls(start.characters, merges.tolist())
        if record:
            names, first = tokenizer.tokens, len(start.characters) + 1
            tokenizer.steps = [
                MergeStep(names[left], names[right], count, names[first + i], tokens)
                for i, ((left, right), (count, tokens)) in enumerate(
                    zip(merges.tolist(), table.tolist(), strict=True)
                )
            ]
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return len(self.tokens)

    @property
    def unknown_id(self) -> int:
        """Id of ``<|unk|>``."""
        return len(self.tokens) - 2

    @property
    def end_of_text_id(self) -> int:
        """Id of ``<|endoftext|>``, the last one."""
        return len(self.tokens) - 1

    def encode(self, text: str) -> np.ndarray:
        """Turn a text into ids; how much white space there is between words is lost."""
        ids: list[int] = []
        for word in checked_text(text, "WordBPETokenizer").split():
            known = self._cache.get(word)
            if known is None:
                known = self._cache[word] = apply_merges(self._spell(word), self._merged)
            ids += known
        return np.array(ids, np.int64)

    def tokenize(self, text: str) -> list[str]:
        """Turn a text into the names of its tokens."""
        return [self.tokens[i] for i in self.encode(text).tolist()]

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text, with a space after each word but the last.

        Raises
        ------
        ValueError
            If an id is outside the vocabulary.
        """
        checked = checked_ids(ids, self.vocab_size, "WordBPETokenizer").tolist()
        pieces = [
            name[: -len(END_OF_WORD)] + " " if self._ends_word(i) else name
            for i, name in ((i, self.tokens[i]) for i in checked)
        ]
        if checked and self._ends_word(checked[-1]):
            pieces[-1] = pieces[-1][:-1]
        return "".join(pieces)

    def bytes_per_token(self) -> np.ndarray:
        """Return the length of each token in bytes; ``</w>`` counts as one, special tokens as 0."""
        lengths = [
            len(name.encode("utf-8", "surrogatepass")) - (len(END_OF_WORD) - 1) * self._ends_word(i)
            for i, name in enumerate(self.tokens[:-2])
        ]
        return np.array([*lengths, 0, 0], np.int64)

    def _spell(self, word: str) -> list[int]:
        unknown = self.unknown_id
        return [*(self._ids.get(character, unknown) for character in word), 0]

    def _ends_word(self, token_id: int) -> bool:
        while token_id > len(self.characters):
            if token_id >= self.unknown_id:
                return False
            token_id = self.merges[token_id - len(self.characters) - 1][1]
        return token_id == 0

    def _content(self) -> dict:
        return {"characters": self.characters, "merges": [list(pair) for pair in self.merges]}

    @classmethod
    def _from_content(cls, content: dict) -> WordBPETokenizer:
        merges = content["merges"]
        if not all(type(i) is int for pair in merges for i in pair):
            raise ValueError("its merges are not pairs of integers")
        tokenizer = cls(content["characters"], merges)
        if tokenizer.characters != content["characters"]:  # sorting them would change the ids
            raise ValueError("its characters are not in order, or one is there twice")
        return tokenizer
