"""Words of a text that a model is to find: which ones are masked is drawn anew each epoch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from npgpt.data.datasets import Dataset, Draws, Indices
from npgpt.fields import check_whole
from npgpt.ops import IGNORE_INDEX
from npgpt.tokenizers import Tokenizer, WordPieceTokenizer, WordTokenizer
from npgpt.tokenizers.word_piece_file import MASK, PREFIX

MASKING = ("exact", "bernoulli")


class MaskedWords:
    """Texts in which some words are masked (Devlin et al. 2018, arXiv 1810.04805, section 3.1).

    Of the tokens that are drawn four fifths become ``mask_id``, a tenth another token drawn from
    the vocabulary, and a tenth stay as they are: the model is asked for all of them, and cannot
    tell which are right. Special tokens are never drawn, and never put in a word's place.

    Parameters
    ----------
    dataset : Dataset
        The first array of its batches are token ids, (batch, time). With an attribute ``lengths``,
        one a text, it is padded at the ends.
    vocab_size : int
    mask_id : int
    probability : float
        Share of the tokens that is drawn.
    masking : {"exact", "bernoulli"}
        exact: as many of each text as the share comes to, at least 1, as Google's released code
        draws them; bernoulli: each for itself, as transformers'
        ``DataCollatorForLanguageModeling`` does.
    special_ids : collection of int
    continuing : ndarray of bool, shape (vocab_size,), optional
        Which tokens go on with the word of the token before: then whole words are drawn, all of
        their tokens or none; see `continuing_pieces`. In exact masking a word that would exceed
        the share is passed over, as in Google's code.

    Raises
    ------
    ValueError
        If the probability is not above 0 and at most 1, the masking is none of these, or an id is
        outside the vocabulary.

    Notes
    -----
    What is drawn of an example depends on seed, epoch and its index alone, see `Draws`: a run that
    resumes sees the same masks.

    Examples
    --------
    >>> from npgpt.data import DataLoader, TokenWindows
    >>> windows = TokenWindows(np.arange(1, 90) % 50, context_length=20)
    >>> masked = MaskedWords(windows, vocab_size=51, mask_id=50)
    >>> token_ids, targets = next(iter(DataLoader(masked, batch_size=4)))
    >>> (targets != -100).sum(axis=1).tolist()  # 15 % of 20
    [3, 3, 3, 3]
    """

    OF_MASKED = (0.8, 0.1)  # shares that become the mask, and another token; the rest stays

    def __init__(
        self,
        dataset: Dataset,
        vocab_size: int,
        mask_id: int,
        probability: float = 0.15,
        masking: str = "exact",
        special_ids: Collection[int] = (),
        continuing: np.ndarray | None = None,
    ):
        check_whole("MaskedWords", 1, vocab_size=vocab_size)
        if not 0.0 < probability <= 1.0:
            raise ValueError(
                f"MaskedWords: probability must be above 0 and at most 1, got {probability}."
            )
        if masking not in MASKING:
            raise ValueError(
                f"MaskedWords: masking must be one of {', '.join(MASKING)}, got {masking!r}."
            )
        outside = [i for i in (mask_id, *special_ids) if not 0 <= i < vocab_size]
        if outside:
            raise ValueError(
                f"MaskedWords: id {outside[0]} is outside the vocabulary of {vocab_size} tokens."
            )
        self.dataset, self.mask_id = dataset, mask_id
        self.probability, self.masking = probability, masking
        self.is_special = np.zeros(vocab_size, bool)
        self.is_special[[mask_id, *special_ids]] = True
        self.continuing = continuing
        if continuing is not None and np.shape(continuing) != (vocab_size,):
            raise ValueError(
                f"MaskedWords: continuing must have the shape ({vocab_size},), got "
                f"{np.shape(continuing)}."
            )
        self._others = np.flatnonzero(~self.is_special)
        self.lengths: Any = getattr(dataset, "lengths", None)

    def __len__(self) -> int:
        return len(self.dataset)

    def __repr__(self) -> str:
        words = "" if self.continuing is None else ", whole words"
        return f"MaskedWords({self.dataset!r}, {self.probability:.0%}, {self.masking}{words})"

    def random_batch(self, indices: Indices, draws: Draws) -> tuple[np.ndarray, ...]:
        """Make texts with masked words, and what stood in their places.

        Returns
        -------
        token_ids, targets : ndarray of int64, shape (len(indices), time)
            Targets are -100 where nothing was drawn.
        segments : ndarray of int64, shape (len(indices), time)
            All 0; of a padded dataset only.
        lengths : ndarray of int64, shape (len(indices),)
            Of a padded dataset only.
        """
        token_ids = np.array(self.dataset.batch(indices)[0], np.int64)
        targets = np.full_like(token_ids, IGNORE_INDEX)
        if self.lengths is None:
            lengths = np.full(len(token_ids), token_ids.shape[1])
        else:
            lengths = np.asarray(self.lengths)[np.asarray(indices)]
        for row, index in enumerate(indices):
            text = token_ids[row, : lengths[row]]
            rng = draws.of(int(index))
            places = self._draw(text, rng)
            targets[row, places] = text[places]
            text[places] = self._replaced(text[places], rng)
        if self.lengths is None:
            return token_ids, targets
        return token_ids, targets, np.zeros_like(token_ids), lengths

    def _draw(self, text: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw the places that are asked for."""
        candidates = np.flatnonzero(~self.is_special[text])
        word_of = self._words(text, candidates)
        sizes = np.bincount(word_of)
        if self.masking == "bernoulli":
            drawn = rng.random(len(sizes)) < self.probability
        else:
            drawn = np.zeros(len(sizes), bool)
            room = max(1, round(self.probability * len(text)))
            for word in rng.permutation(len(sizes)):
                if sizes[word] <= room:
                    drawn[word] = True
                    room -= sizes[word]
                if not room:
                    break
        return candidates[drawn[word_of]]

    def _words(self, text: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Number the words that the candidates are pieces of: 0, 1, 2, ..."""
        if self.continuing is None:
            return np.arange(len(candidates))
        begins = ~np.asarray(self.continuing)[text[candidates]]
        begins[1:] |= np.diff(candidates) > 1  # a special token is between them
        begins[:1] = True
        return np.cumsum(begins) - 1

    def _replaced(self, tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Put the mask, another token, or the same one in the place of each."""
        masks, others = self.OF_MASKED
        u = rng.random(len(tokens))
        drawn = self._others[rng.integers(0, len(self._others), len(tokens))]
        return np.where(u < masks, self.mask_id, np.where(u < masks + others, drawn, tokens))


def masked_words(
    dataset: Dataset, tokenizer: Tokenizer, whole_words: bool = False, **choices: Any
) -> MaskedWords:
    """Make `MaskedWords` of a data set, with the special tokens of its tokenizer.

    Parameters
    ----------
    dataset : Dataset
    tokenizer : Tokenizer
    whole_words : bool
        Whether all pieces of a word are masked, or none.
    **choices
        ``probability`` and ``masking``.

    Raises
    ------
    ValueError
        If the tokenizer has no mask, or as `MaskedWords` does.
    """
    mask_id, special = mask_id_of(tokenizer), never_asked_for(tokenizer)
    pieces = continuing_pieces(tokenizer) if whole_words else None
    return MaskedWords(
        dataset, tokenizer.vocab_size, mask_id, special_ids=special, continuing=pieces, **choices
    )


def never_asked_for(tokenizer: Tokenizer) -> set[int]:
    """Return the ids of tokens that are never masked: special ones, and the end of a text."""
    end = tokenizer.end_of_text_id
    return {*getattr(tokenizer, "special_ids", {}).values(), *([] if end is None else [end])}


def mask_id_of(tokenizer: Tokenizer) -> int:
    """Return the id of a tokenizer's mask.

    Raises
    ------
    ValueError
        If it has none.
    """
    ids = getattr(tokenizer, "special_ids", {})
    if MASK not in ids:
        raise ValueError(
            f"The tokenizer, a {type(tokenizer).__name__}, has no token {MASK} to put in the place "
            "of masked words; --tokenizer wordpiece or bpe learns one that has, or give the path "
            "of another."
        )
    return ids[MASK]


def continuing_pieces(tokenizer: Tokenizer) -> np.ndarray:
    """Tell of each token whether it goes on with the word of the token before.

    Of WordPiece those that begin with ``##``; words are whole; of byte pairs and characters those
    whose text begins with a letter, a digit, or a part of a character.

    Returns
    -------
    ndarray of bool, shape (vocab_size,)

    Examples
    --------
    >>> from npgpt.tokenizers import BPETokenizer
    >>> tokenizer = BPETokenizer.train("low lower lowest " * 9, 264)
    >>> pieces = continuing_pieces(tokenizer)
    >>> [bool(pieces[i]) for i in tokenizer.encode(" lowish,")]
    [False, True, True, True, False]
    """
    if isinstance(tokenizer, WordTokenizer):
        return np.zeros(tokenizer.vocab_size, bool)
    if isinstance(tokenizer, WordPieceTokenizer):
        return np.array([name.startswith(PREFIX) for name in tokenizer.tokens])
    special = set(getattr(tokenizer, "special_ids", {}).values())
    texts = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]
    return np.array(
        [i not in special and (t[:1].isalnum() or t[:1] == "\N{REPLACEMENT CHARACTER}")
         for i, t in enumerate(texts)]
    )  # fmt: skip
