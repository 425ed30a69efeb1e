"""The tokenizers of a MarianMT folder: SentencePiece for each side, and ids of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npgpt import hub
from npgpt.files import write_atomically
from npgpt.tokenizers.companions import CONFIG
from npgpt.tokenizers.unsupported import Unsupported

VOCABULARY, TARGET_VOCABULARY = "vocab.json", "target_vocab.json"
SOURCE, TARGET = "source.spm", "target.spm"
END, UNKNOWN, PAD = "</s>", "<unk>", "<pad>"
NEEDED = (
    "The tokenizers of a MarianMT need SentencePiece: pip install 'npgpt[sentencepiece]' brings it."
)


class SentencePieces:
    """One side of `MarianTokenizers`: the pieces of a SentencePiece model, by ids of a vocabulary.

    Kudo and Richardson 2018 (arXiv 1808.06226); the package ``sentencepiece`` computes it.

    Parameters
    ----------
    vocabulary : mapping of str to int
        From pieces to ids, which are not those of the model.
    model : bytes
        A SentencePiece model, the content of an ``.spm`` file.
    where : str
        The file of the vocabulary, for errors.

    Raises
    ------
    ValueError
        If ids of the vocabulary are missing or there twice, or it lacks ``</s>``, ``<unk>`` or
        ``<pad>``, or the model is damaged.
    ModuleNotFoundError
        If sentencepiece is not installed.
    """

    def __init__(self, vocabulary: Mapping[str, int], model: bytes, where: str = VOCABULARY):
        ids = list(vocabulary.values())
        if any(type(i) is not int for i in ids) or sorted(ids) != list(range(len(ids))):
            raise ValueError(f"{where} must give each piece one of the ids 0, 1, 2, ... .")
        if missing := [token for token in (END, UNKNOWN, PAD) if token not in vocabulary]:
            raise ValueError(f"{where} has no {' and no '.join(missing)}.")
        self.vocabulary, self.model = dict(vocabulary), model
        self._pieces = sorted(vocabulary, key=vocabulary.__getitem__)
        self._processor = _processor(model)

    @property
    def vocab_size(self) -> int:
        """Ids are ``0 .. vocab_size - 1``."""
        return len(self.vocabulary)

    @property
    def end_of_text_id(self) -> int:
        """The id of ``</s>``, which ends a sentence."""
        return self.vocabulary[END]

    @property
    def unused_ids(self) -> tuple[int, ...]:
        """Ids that stand for no text and no end: that of ``<pad>``."""
        return (self.vocabulary[PAD],)

    def encode(self, text: str) -> np.ndarray:
        """Turn a text into ids, int64, without an end; ``>>xx<<`` before it is one token.

        Models of several target languages read which one is meant from that.
        """
        language, end, rest = text.partition("<<")
        is_named = text.startswith(">>") and bool(end)
        pieces = [language + end] if is_named else []
        pieces += self._processor.encode(rest if is_named else text, out_type=str)
        unknown = self.vocabulary[UNKNOWN]
        return np.array([self.vocabulary.get(piece, unknown) for piece in pieces], np.int64)

    def encode_batch(self, texts: Iterable[str]) -> list[np.ndarray]:
        """Turn texts into ids, each for itself."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text; ``</s>`` and ``<pad>`` are left out."""
        pieces = [self._pieces[i] for i in ids]
        text = self._processor.decode_pieces([piece for piece in pieces if piece not in (END, PAD)])
        return text.replace("\u2581", " ").strip()

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of all that decides the ids of a text."""
        return hashlib.sha256("\n".join(self._pieces).encode() + self.model).hexdigest()


class MarianTokenizers:
    """What turns the sources and targets of a MarianMT into ids.

    It has the methods of `npgpt.data.pairs.PairTokenizers`; targets begin with ``<pad>``.

    Parameters
    ----------
    source, target : SentencePieces
        Of one vocabulary, or of two.
    """

    def __init__(self, source: SentencePieces, target: SentencePieces):
        self.source, self.target = source, target

    @property
    def is_joint(self) -> bool:
        """Whether both sides have one vocabulary, so that embeddings can be shared."""
        return self.source.vocabulary == self.target.vocabulary

    @property
    def start_id(self) -> int:
        """The first id that a decoder reads."""
        return self.target.vocabulary[PAD]

    @property
    def end_id(self) -> int:
        """The last id that a decoder predicts."""
        return self.target.end_of_text_id

    def encode_sources(self, texts: Iterable[str]) -> list[np.ndarray]:
        """Turn sources into ids, each with ``</s>`` at the end."""
        end = np.array([self.source.end_of_text_id], np.int64)
        return [np.concatenate([ids, end]) for ids in self.source.encode_batch(texts)]

    def encode_targets(self, texts: Iterable[str]) -> list[np.ndarray]:
        """Turn targets into ids, without a start or an end."""
        return self.target.encode_batch(texts)

    def decode_target(self, ids: Iterable[int]) -> str:
        """Turn what a decoder wrote into text, up to the first ``</s>``."""
        found = np.fromiter(ids, np.int64)
        ends = np.flatnonzero(found == self.end_id)
        return self.target.decode(found[: ends[0]] if ends.size else found)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of both sides, in hexadecimal."""
        return f"{self.source.fingerprint} {self.target.fingerprint}"

    def save(self, folder: str | Path) -> None:
        """Write the files that transformers' ``MarianTokenizer`` reads into a folder."""
        folder = Path(folder)
        for name, side in ((SOURCE, self.source), (TARGET, self.target)):
            write_atomically(folder / name, side.model)
        hub.write_json(folder / VOCABULARY, self.source.vocabulary)
        if not self.is_joint:
            hub.write_json(folder / TARGET_VOCABULARY, self.target.vocabulary)
        names = {"eos_token": END, "unk_token": UNKNOWN, "pad_token": PAD}
        kind = {"tokenizer_class": "MarianTokenizer", "separate_vocabs": not self.is_joint}
        hub.write_json(folder / CONFIG, {**kind, **names})

    @classmethod
    def load(cls, folder: str | Path) -> MarianTokenizers:
        """Read ``source.spm``, ``target.spm`` and ``vocab.json`` of a MarianMT folder.

        Raises
        ------
        FileNotFoundError
            If one is missing.
        ValueError
            If one is damaged, or its special tokens have other names.
        ModuleNotFoundError
            If sentencepiece is not installed.
        """
        folder = Path(folder)
        config = hub.read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
        for role, name in (("eos_token", END), ("unk_token", UNKNOWN), ("pad_token", PAD)):
            if config.get(role, name) != name:
                raise Unsupported(
                    f"{folder / CONFIG}: {role} must be {name}, got {config[role]!r}."
                )
        separate = bool(config.get("separate_vocabs", False))
        return cls(
            _side(folder, VOCABULARY, SOURCE),
            _side(folder, TARGET_VOCABULARY if separate else VOCABULARY, TARGET),
        )


def _side(folder: Path, vocabulary: str, model: str) -> SentencePieces:
    path = folder / model
    if not path.is_file():
        raise FileNotFoundError(f"There is no {model} in {folder}.")
    content = hub.read_json(folder / vocabulary)
    try:
        return SentencePieces(content, path.read_bytes(), str(folder / vocabulary))
    except RuntimeError as error:  # of sentencepiece
        raise ValueError(f"{path} is not a SentencePiece model ({error}).") from None


def _processor(model: bytes) -> Any:
    try:
        from sentencepiece import SentencePieceProcessor
    except ModuleNotFoundError:
        raise ModuleNotFoundError(NEEDED) from None
    return SentencePieceProcessor(model_proto=model)
