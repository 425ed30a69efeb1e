"""The tokenizers of the two sides of a pair: one for both, or one for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from npgpt import tokenizers
from npgpt.data.pairs.corpus import PairParts
from npgpt.files import TOKENIZER
from npgpt.tokenizers import BPETokenizer, CharTokenizer, Tokenizer
from npgpt.tokenizers.base import END_OF_TEXT

SOURCE_TOKENIZER, TARGET_TOKENIZER = "source-tokenizer.json", "target-tokenizer.json"
JOINT, SEPARATE, CHARACTERS = "joint", "separate", "char"
KINDS = (JOINT, SEPARATE, CHARACTERS)


@dataclasses.dataclass(frozen=True)
class PairTokenizers:
    """What turns sources and targets into ids.

    ``<|endoftext|>`` of the target's tokenizer is both the token that a target begins after and
    the one that it ends with, as in fairseq (Ott et al. 2019, arXiv 1904.01038); a source ends
    with that of its own. Nothing is needed to fill rows up: lengths say what is there.

    Attributes
    ----------
    source, target : Tokenizer
        The same one if it is joint.

    Raises
    ------
    ValueError
        If one has no ``<|endoftext|>``.
    """

    source: Tokenizer
    target: Tokenizer

    def __post_init__(self) -> None:
        for side in ("source", "target"):
            if getattr(self, side).end_of_text_id is None:
                raise ValueError(
                    f"PairTokenizers: the tokenizer of the {side} has no {END_OF_TEXT}, "
                    "which ends a sentence; make it with end_of_text=True."
                )

    @property
    def is_joint(self) -> bool:
        """Whether one vocabulary is for both, so that embeddings can be shared."""
        return self.source is self.target

    @property
    def start_id(self) -> int:
        """The first id that a decoder reads."""
        return self.end_id

    @property
    def end_id(self) -> int:
        """The last id that a decoder predicts."""
        end = self.target.end_of_text_id
        assert end is not None
        return end

    def encode_sources(self, texts: Iterable[str]) -> list[np.ndarray]:
        """Turn sources into ids, each with the end-of-text token at the end."""
        end = np.array([self.source.end_of_text_id], np.int64)
        return [np.concatenate((ids, end)) for ids in self.source.encode_batch(texts)]

    def encode_targets(self, texts: Iterable[str]) -> list[np.ndarray]:
        """Turn targets into ids, without a start or an end."""
        return self.target.encode_batch(texts)

    def decode_target(self, ids: Sequence[int] | np.ndarray) -> str:
        """Turn what a decoder wrote into text, up to the first end-of-text token."""
        ids = np.asarray(ids, np.int64)
        ends = np.flatnonzero(ids == self.end_id)
        return self.target.decode(ids[: ends[0]] if ends.size else ids)

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of all that decides the ids of a pair."""
        if self.is_joint:
            return self.target.fingerprint
        return f"{self.source.fingerprint} {self.target.fingerprint}"

    def save(self, folder: str | Path) -> None:
        """Write ``tokenizer.json``, or ``source-tokenizer.json`` and ``target-tokenizer.json``."""
        if self.is_joint:
            self.target.save(Path(folder) / TOKENIZER)
        else:
            self.source.save(Path(folder) / SOURCE_TOKENIZER)
            self.target.save(Path(folder) / TARGET_TOKENIZER)

    @classmethod
    def load(cls, folder: str | Path) -> PairTokenizers:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            If it is not there, or one of two is missing.
        ValueError
            If a file is damaged.
        """
        source, target = (Path(folder) / name for name in (SOURCE_TOKENIZER, TARGET_TOKENIZER))
        if source.exists() or target.exists():
            return cls(tokenizers.load(source), tokenizers.load(target))
        joint = tokenizers.load(Path(folder) / TOKENIZER)
        return cls(joint, joint)


def train_tokenizers(
    parts: PairParts,
    kind: str = JOINT,
    vocab_size: int = 8000,
    progress: Callable[[int, int], None] | None = None,
) -> PairTokenizers:
    """Learn the tokenizers of pairs.

    Parameters
    ----------
    parts : PairParts
        Byte pairs are learned from those to train on. Characters are taken from all, because one
        that is not in the vocabulary could not be encoded.
    kind : {"joint", "separate", "char"}
        A byte-level BPE for both sides together or for each, or the characters of each side, which
        suit texts in which every character counts, as those of the built-in tasks: in a date or a
        number whatever is merged hides digits, and a vocabulary of ten digits is soon learned.
    vocab_size : int
        Tokens of each byte-level BPE.
    progress : function, optional
        Called with (merges done, merges in all).

    Raises
    ------
    ValueError
        If ``kind`` is another, or ``vocab_size`` too small.
    """
    if kind not in KINDS:
        raise ValueError(f"tokenizers of pairs must be one of {', '.join(KINDS)}, got {kind!r}.")
    pairs = parts.train + parts.held_out if kind == CHARACTERS else parts.train
    sources, targets = [p.source for p in pairs], [p.target for p in pairs]
    if kind == CHARACTERS:
        return PairTokenizers(CharTokenizer.train(sources), CharTokenizer.train(targets))
    if kind == JOINT:
        joint = BPETokenizer.train(sources + targets, vocab_size, progress)
        return PairTokenizers(joint, joint)
    return PairTokenizers(
        BPETokenizer.train(sources, vocab_size, progress),
        BPETokenizer.train(targets, vocab_size, progress),
    )
