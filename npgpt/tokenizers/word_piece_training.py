"""Learning the tokens of WordPiece, as Hugging Face's ``WordPieceTrainer`` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from npgpt.tokenizers.forms import forms
from npgpt.tokenizers.word_piece_file import PREFIX


def learn_tokens(
    words: Mapping[str, int],
    vocab_size: int,
    special: Sequence[str],
    limit_alphabet: int,
    who: str,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Return the tokens after the special ones: characters, those within words, and merges.

    Parameters
    ----------
    words : mapping of str to int
        And how often each occurs.
    vocab_size, limit_alphabet, progress
        As for `npgpt.tokenizers.WordPieceTokenizer.train`.
    special : sequence of str
        Tokens that the vocabulary begins with.
    who : str
        The class that asks, for the errors.

    Raises
    ------
    ValueError
        If there is no word, or ``vocab_size`` is too small.
    """
    if not words:
        raise ValueError(f"{who}: the text to train on is empty.")
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    most = sorted(counts, key=lambda c: (-counts[c], c))[:limit_alphabet]
    known = set(most)
    # a character that is no token is left out of its word
    kept = ["".join(c for c in word if c in known) for word in words]
    spelled = [_spell(word, full[0] in known) for word, full in zip(kept, words, strict=True)]
    names = [*sorted(known), *sorted({p for word in spelled for p in word} - known)]
    smallest = len(special) + len(names)
    if vocab_size < smallest:
        raise ValueError(
            f"{who}: vocab_size must be at least {smallest} (the characters of the text, at the "
            f"beginning of words and within, and {', '.join(special)}), got {vocab_size}."
        )
    numbers = {name: i for i, name in enumerate(names)}
    pairs = [
        ([numbers[part] for part in word], count)
        for word, count in zip(spelled, words.values(), strict=True)
        if word
    ]
    starts = np.cumsum([0, *(len(word) for word, _ in pairs)])
    ids = np.array([i for word, _ in pairs for i in word], np.int64)
    often = np.array([count for _, count in pairs], np.int64)
    wanted = vocab_size - smallest
    merges, _ = forms().learn_merges(ids, starts, often, wanted, len(names), progress)
    for left, right in merges.tolist():
        names.append(names[left] + names[right].removeprefix(PREFIX))
    return [*dict.fromkeys(names)]


def _spell(word: str, begins: bool) -> list[str]:
    return [c if i == 0 and begins else PREFIX + c for i, c in enumerate(word)]
