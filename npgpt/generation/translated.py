"""Texts to texts: what a model of pairs makes of sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from npgpt.data.pairs import PairTokenizers
from npgpt.fields import check_whole, short_repr
from npgpt.generation.text import ids_without_token
from npgpt.generation.translates import Translates


class TranslatedText(NamedTuple):
    """A translation as text.

    Attributes
    ----------
    text : str
    log_p : float
        The logarithm of its probability, in nats.
    score : float
        By which beams are compared: ``log_p`` divided by what the length is worth.
    source_ids, token_ids : ndarray of int
        Both sides as tokens, with their ends.
    alignment : ndarray, shape (tokens, source tokens), or None
        How much the decoder looked at each source token as it made each token.
    """

    text: str
    log_p: float
    score: float
    source_ids: np.ndarray
    token_ids: np.ndarray
    alignment: np.ndarray | None = None

    def __repr__(self) -> str:
        return short_repr(self)


def translate_texts(
    model: Translates,
    tokenizers: PairTokenizers,
    texts: Sequence[str],
    *,
    batch_size: int = 64,
    max_new_tokens: int = 128,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    penalty: str = "power",
    num_best: int = 1,
    alignments: bool = False,
    on_batch: Callable[[int, int], object] = lambda done, total: None,
) -> list[list[TranslatedText]]:
    """Translate texts, those of similar length together.

    Parameters
    ----------
    model : Translates
    tokenizers : PairTokenizers
    texts : sequence of str
    batch_size : int
        Texts at a time.
    max_new_tokens, num_beams, length_penalty, penalty, num_best, alignments
        As of `Translates.translate`.
    on_batch : function
        Called with the number of texts that are done, and that of all.

    Returns
    -------
    list of list of TranslatedText
        Of each text, in the order of the texts, the best translations, best first.

    Raises
    ------
    ValueError
        If a text cannot be encoded, or an argument is out of range.
    """
    check_whole("translate_texts", 1, batch_size=batch_size)
    sources = tokenizers.encode_sources(texts)
    suppressed = ids_without_token(tokenizers.target, model.head.vocab_size)
    found: list[list[TranslatedText]] = [[] for _ in texts]
    order = sorted(range(len(texts)), key=lambda i: len(sources[i]))
    for begin in range(0, len(order), batch_size):
        batch = order[begin : begin + batch_size]
        translations = model.translate(
            [sources[i] for i in batch],
            start_id=tokenizers.start_id,
            end_id=tokenizers.end_id,
            max_new_tokens=max_new_tokens,
            num_beams=num_beams,
            length_penalty=length_penalty,
            penalty=penalty,
            num_best=num_best,
            alignments=alignments,
            suppressed=suppressed,
        )
        for i, of_one in zip(batch, translations, strict=True):
            found[i] = [
                TranslatedText(
                    tokenizers.decode_target(best.token_ids),
                    best.log_p,
                    best.score,
                    sources[i],
                    best.token_ids,
                    best.alignment,
                )
                for best in of_one
            ]
        on_batch(min(begin + batch_size, len(order)), len(order))
    return found
