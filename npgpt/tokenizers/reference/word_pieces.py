"""WordPiece in plain Python (Schuster and Nakajima 2012; Wu et al. 2016, arXiv 1609.08144)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from npgpt.tokenizers.bert_characters import (
    Normalization,
    combining_class,
    decomposed,
    is_chinese,
    is_mark,
    is_punctuation,
    is_removed,
    is_white,
    lowered,
)


def normalize(text: str, how: Normalization) -> str:
    """Clean a text, put blanks around Chinese characters, strip accents, make letters small.

    Examples
    --------
    >>> normalize("Café", Normalization())
    'cafe'
    """
    text = "".join(" " if is_white(c) else c for c in text if not is_removed(c))
    if how.handle_chinese_chars:
        text = "".join(f" {c} " if is_chinese(c) else c for c in text)
    if how.strips:
        parts = (part for c in text for part in decomposed(c))
        text = "".join(c for c in in_order(parts) if not is_mark(c))
    if how.lowercase:
        text = "".join(map(lowered, text))
    return text


def in_order(characters: Iterator[str]) -> Iterator[str]:
    """Put the marks on each character in the order of their classes (Unicode's algorithm)."""
    marks: list[str] = []
    for c in characters:
        if combining_class(c):
            marks.append(c)
            continue
        yield from sorted(marks, key=combining_class)
        marks.clear()
        yield c
    yield from sorted(marks, key=combining_class)


def spaced(text: str, how: Normalization) -> str:
    """Normalize a text, with one blank or more between words; a punctuation mark is a word."""
    return "".join(f" {c} " if is_punctuation(c) else c for c in normalize(text, how))


def longest_match(
    word: str, ids: Mapping[str, int], unknown_id: int, prefix: str, max_characters: int
) -> list[int]:
    """Take the longest token that the word begins with, then that the rest begins with.

    Tokens that go on within a word begin with the prefix. If there is none at some place, or the
    word is too long, the whole word is unknown.

    Examples
    --------
    >>> longest_match("unable", {"un": 1, "una": 2, "##ble": 3, "##able": 4}, 0, "##", 100)
    [2, 3]
    """
    found, start = [], 0
    if len(word) > max_characters:
        return [unknown_id]
    while start < len(word):
        for end in range(len(word), start, -1):
            name = prefix * (start > 0) + word[start:end]
            if name in ids:
                found.append(ids[name])
                start = end
                break
        else:
            return [unknown_id]
    return found


class Speller:
    """Texts to words; see `npgpt.tokenizers.compiled.word_pieces.Speller`."""

    def __init__(self, how: Normalization):
        self._how = how

    def __call__(self, text: str) -> bytes:
        """Return the words in UTF-8, with blanks between them."""
        return spaced(text, self._how).encode("utf-8", "surrogatepass")


class PieceEncoder:
    """Words to ids; see `npgpt.tokenizers.compiled.word_pieces.PieceEncoder`."""

    def __init__(
        self, names: Sequence[str], ids: Sequence[int], unknown_id: int, prefix: str, longest: int
    ):
        self._arguments = dict(zip(names, ids, strict=True)), unknown_id, prefix, longest

    def __call__(self, words: bytes) -> np.ndarray:
        """Return the ids, int32."""
        ids: list[int] = []
        for word in words.decode("utf-8", "surrogatepass").split(" "):
            ids += longest_match(word, *self._arguments)
        return np.array(ids, np.int32)
