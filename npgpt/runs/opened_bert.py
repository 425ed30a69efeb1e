"""A BERT and its tokenizer: what stands in masked places, and a vector for each text."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npgpt import hub, ops
from npgpt.data.masking import MASK, mask_id_of
from npgpt.data.sequences import PaddedTexts
from npgpt.fields import check_whole
from npgpt.generation import ids_without_token
from npgpt.models import Bert, sentence_vectors
from npgpt.models.model import family_of
from npgpt.models.pretrained import load_pretrained, read_config
from npgpt.runs.open import OpenedModel, find_run
from npgpt.runs.run import Run
from npgpt.runs.tokenizer import open_tokenizer
from npgpt.tokenizers import WordPieceTokenizer
from npgpt.tokenizers.word_piece_file import PREFIX


class Candidate(NamedTuple):
    """A token in a masked place.

    Attributes
    ----------
    token : str
        A piece that goes on with a word begins with ``##`` in a vocabulary of pieces.
    id : int
    probability : float
    """

    token: str
    id: int
    probability: float


class FilledText(NamedTuple):
    """What a model finds for the masks of a text.

    Attributes
    ----------
    text : str
        With the likeliest token in each masked place.
    masks : list of list of Candidate
        The likeliest tokens of each mask, best first. Each is asked for while the others are
        masked.
    """

    text: str
    masks: list[list[Candidate]]

    def __repr__(self) -> str:
        return f"FilledText({self.text!r}, {len(self.masks)} masks)"


@dataclasses.dataclass(frozen=True)
class OpenedBert(OpenedModel):
    """A BERT and what belongs to it, as `open_bert` finds it.

    A text is read as in training. ``[CLS]`` and ``[SEP]`` stand around it for a model in Hugging
    Face's format; a run of ``npgpt train`` has learned from windows, with nothing around them.
    """

    @property
    def around(self) -> tuple[np.ndarray, np.ndarray]:
        """The ids that stand before a text, and behind it."""
        ids: list[int | None] = [None, None]
        if self.run is None and isinstance(self.tokenizer, WordPieceTokenizer):
            ids = [self.tokenizer.cls_id, self.tokenizer.sep_id]
        before, behind = (np.array([] if i is None else [i], np.int64) for i in ids)
        return before, behind

    def encode(self, text: str, with_masks: bool = False) -> np.ndarray:
        """Turn a text into the ids that the model reads.

        Parameters
        ----------
        text : str
        with_masks : bool
            Whether ``[MASK]`` is the mask, and not a word like others. The blank before it belongs
            to the word in its place, where a vocabulary has words with their blanks.

        Raises
        ------
        ValueError
            If the text is empty or longer than the context.
        """
        tokenizer: Any = self.tokenizer
        if not with_masks:
            ids = tokenizer.encode(text)
        else:
            if self._has_blanks:
                text = text.replace(f" {MASK}", MASK)
            ids = tokenizer.encode(text, allowed_special=[MASK])
        if not text.strip() or not len(ids):
            raise ValueError("the text is empty.")
        ids = np.concatenate([self.around[0], ids, self.around[1]])
        most = self.model.config.max_length
        if most is not None and len(ids) > most:
            with_ends = " with those around it" if len(self.around[0]) else ""
            raise ValueError(
                f"the text has {len(ids):,} tokens{with_ends}, more than the {most:,} of the "
                "model's context; shorten it."
            )
        return ids

    def fill(self, text: str, top_k: int = 5) -> FilledText:
        """Find what stands in the masked places of a text.

        Parameters
        ----------
        text : str
            With ``[MASK]`` at least once.
        top_k : int
            Candidates of each mask.

        Raises
        ------
        ValueError
            If the text has no mask, is longer than the context, or the model or its vocabulary
            knows no masks.
        """
        check_whole("fill", 1, top_k=top_k)
        mask_id = self.mask_id()
        if not text.strip():
            raise ValueError("the text is empty.")
        if MASK not in text:
            raise ValueError(
                f"the text has no {MASK}; write it where a word is to be found, as in "
                f'"The {MASK} statement".'
            )
        ids = self.encode(text, with_masks=True)
        targets = np.where(ids == mask_id, mask_id, -100)  # any token: the logits are read
        logits, _ = self.model.masked_logits(ids[None], targets[None])
        logits = logits.astype(np.float64)
        without = ids_without_token(self.tokenizer, logits.shape[1])
        logits[:, without] = -np.inf
        chances = ops.softmax_forward(logits)
        best = np.argsort(-chances, axis=-1, kind="stable")
        best = best[:, : min(top_k, logits.shape[1] - len(without))]
        masks = [
            [Candidate(self._name(i), int(i), float(row[i])) for i in found]
            for row, found in zip(chances, best, strict=True)
        ]
        return FilledText(self._filled(text, [found[0].token for found in masks]), masks)

    def vectors(
        self,
        texts: Sequence[str],
        normalize: bool = True,
        batch_size: int = 32,
        on_batch: Callable[[int, int], None] = lambda done, total: None,
    ) -> np.ndarray:
        """Compute a vector for each text: the mean of the hidden states of its tokens.

        Parameters
        ----------
        texts : sequence of str
        normalize : bool
            Whether each vector has the length 1, so that inner products are cosines.
        batch_size : int
            Texts at a time; those of similar length come together.
        on_batch : function, optional
            Called with (texts done, texts in all).

        Returns
        -------
        ndarray, shape (texts, d_model)

        Raises
        ------
        ValueError
            If a text is empty or longer than the context.
        """
        check_whole("vectors", 1, batch_size=batch_size)
        read = PaddedTexts([self.encode(text) for text in texts])
        vectors = np.empty((len(read), self.model.config.d_model), self.model.dtype)
        order = np.argsort(-read.lengths, kind="stable")
        for start in range(0, len(read), batch_size):
            indices = order[start : start + batch_size]
            token_ids, lengths = read.batch(indices)
            vectors[indices] = sentence_vectors(
                self.model, token_ids, lengths=lengths, normalize=normalize
            )
            on_batch(start + len(indices), len(read))
        return vectors

    def pieces(self, ids: np.ndarray) -> list[np.ndarray]:
        """Cut the ids of a long text into pieces of the context, each as `encode` makes a text."""
        before, behind = self.around
        room = self.model.config.context_length - len(before) - len(behind)
        return [
            np.concatenate([before, ids[start : start + room], behind])
            for start in range(0, len(ids), room)
        ]

    def mask_id(self) -> int:
        """Return the id of the mask.

        Raises
        ------
        ValueError
            If the vocabulary has none, or the model no head for masked words.
        """
        if self.model.head is None:
            raise ValueError(
                f"{self.name} is a BERT without a head for masked words; npgpt embed makes vectors "
                "of texts with it."
            )
        if MASK not in getattr(self.tokenizer, "special_ids", {}):
            raise ValueError(
                f"{self.name}: the vocabulary has no token {MASK}, so no word can be masked."
            )
        return mask_id_of(self.tokenizer)

    @property
    def _has_blanks(self) -> bool:
        """Whether words of the vocabulary begin with the blank before them."""
        return getattr(self.tokenizer, "joins", False)

    def _name(self, token_id: int) -> str:
        if isinstance(self.tokenizer, WordPieceTokenizer):
            return self.tokenizer.tokens[token_id]
        return self.tokenizer.decode([token_id])

    def _filled(self, text: str, tokens: Sequence[str]) -> str:
        """Put tokens in the masked places of a text."""
        parts = text.split(MASK)
        made = parts[0]
        for token, part in itertools.zip_longest(tokens, parts[1:], fillvalue=""):
            is_piece = isinstance(self.tokenizer, WordPieceTokenizer) and token.startswith(PREFIX)
            if is_piece or (token and self._has_blanks):
                made = made.removesuffix(" ")
            made += (token.removeprefix(PREFIX) if is_piece else token) + part
        return made


def open_bert(
    name_or_folder: str | Path, checkpoint: str = "best", revision: str | None = None
) -> OpenedBert:
    """Load a BERT and its tokenizer, whichever kind of place it is in.

    Parameters
    ----------
    name_or_folder : str or path
        A run folder of ``npgpt train --model bert``, a folder in Hugging Face's format, or a name
        on the hub such as ``google-bert/bert-base-uncased``; tried in this order.
    checkpoint : {"best", "last"}
        Of a run.
    revision : str, optional
        Of a model on the hub.

    Raises
    ------
    FileNotFoundError
        If there is no such model, or a file of it is missing.
    ValueError
        If a file of it is damaged, or it is another kind of model.
    RuntimeError
        If it must be downloaded and huggingface_hub is not installed.
    """
    name, folder = str(name_or_folder), hub.fetch(name_or_folder, revision)
    run = find_run(folder)
    family = _family(folder, run)
    if family is not Bert:
        raise ValueError(
            f"{name} holds a {family.__name__}, not a BERT, which is what reads a text from both "
            "sides; npgpt train --model bert makes one."
        )
    if run is not None:
        return OpenedBert(name, run.load_model(checkpoint), run.tokenizer, folder, run)
    return OpenedBert(
        name, load_pretrained(Bert, folder, np.float32), open_tokenizer(folder), folder
    )


def holds_bert(name_or_folder: str | Path, revision: str | None = None) -> bool:
    """Tell whether a model is one that `open_bert` opens; its weights are not read."""
    folder = hub.fetch(name_or_folder, revision)
    return _family(folder, find_run(folder)) is Bert


def _family(folder: Path, run: Run | None) -> Any:
    return family_of(type(read_config(folder) if run is None else run.model_config))
