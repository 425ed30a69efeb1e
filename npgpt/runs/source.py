"""What a run learns from: texts that are yet to be encoded, or files of token ids."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from npgpt.data import Corpus, encode_documents, load_corpus, split_corpus
from npgpt.data.corpora import corpus_name, cut_of, is_built_in
from npgpt.data.reading import STANDARD_INPUT
from npgpt.data.token_folder import TokenFolder, holds_token_files
from npgpt.files import TOKENIZER, write_atomically
from npgpt.runs.config import DataConfig
from npgpt.runs.folder import TEXT
from npgpt.runs.tokenizer import LEARNED, make_tokenizer, open_tokenizer
from npgpt.tokenizers import Tokenizer

NANOGPT_META = "meta.pkl"  # what nanoGPT's character data sets have in the place of a tokenizer

Progress = Callable[[int, int], None]


class Source(Protocol):
    """Data to train on.

    Attributes
    ----------
    name : str
    size : str
        How much there is, in words.
    fingerprint : str
        SHA-256 in hexadecimal, so that a resumed run cannot go on with other data.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def size(self) -> str: ...  # noqa: D102

    @property
    def fingerprint(self) -> str: ...  # noqa: D102

    def tokenizer(
        self,
        config: DataConfig,
        progress: Progress | None = None,
        special_tokens: Sequence[str] = (),
    ) -> Tokenizer:
        """Learn the tokenizer that the config names, or find it.

        ``progress`` is called with (done, total) while one is learned; ``special_tokens`` are those
        that it gets beside the end of a text.
        """

    def ids(self, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of the training part and of the held-out part."""

    def held_out_bytes(self) -> int | None:
        """Count the bytes of the held-out text in UTF-8; None if there is no text but ids."""

    def keep(self, folder: Path) -> str:
        """Return where the data can be read again; put it into the run's folder if nowhere else."""


@dataclasses.dataclass(frozen=True)
class Texts(Corpus):
    """Documents, the last part of which is held out.

    Attributes
    ----------
    place : str
        As `load_corpus` takes it.
    validation_fraction : float
        0 holds nothing out.
    """

    place: str
    validation_fraction: float

    @functools.cached_property
    def _parts(self) -> tuple[list[str], list[str]]:
        if not self.validation_fraction:
            return self.documents, []
        return split_corpus(self, self.validation_fraction)

    def tokenizer(
        self,
        config: DataConfig,
        progress: Progress | None = None,
        special_tokens: Sequence[str] = (),
    ) -> Tokenizer:
        """Learn a tokenizer from the training part, or take one that is there."""
        return make_tokenizer(
            config.tokenizer,
            lambda: self._parts[0],
            lambda: self.documents,
            config.vocab_size,
            end_of_text=len(self.documents) > 1,
            progress=progress,
            special_tokens=special_tokens,
        )

    def ids(self, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
        """Encode both parts."""
        train, held_out = (encode_documents(part, tokenizer) for part in self._parts)
        return train, held_out

    def held_out_bytes(self) -> int:
        """Count the bytes of the held-out text in UTF-8."""
        return Corpus(self.name, self._parts[1]).num_bytes

    def keep(self, folder: Path) -> str:
        """Write what came from standard input to the folder."""
        if is_built_in(self.place):
            return self.place
        if self.place != STANDARD_INPUT:
            return str(Path(self.place).absolute())
        write_atomically(folder / TEXT, self.documents[0].encode("utf-8"))
        return str((folder / TEXT).absolute())


@dataclasses.dataclass(frozen=True)
class TokenFiles(TokenFolder):
    """Token files, with a tokenizer beside them or one that is named.

    Attributes
    ----------
    place : str
        As `TokenFolder.open` takes it.
    validation_fraction : float
        What is held out, at their end, of files that come without a held-out part.
    """

    place: str = ""
    validation_fraction: float = 0.1

    @property
    def name(self) -> str:
        """The name of the folder or of the file."""
        return corpus_name(self.place)

    def tokenizer(
        self,
        config: DataConfig,
        progress: Progress | None = None,
        special_tokens: Sequence[str] = (),
    ) -> Tokenizer:
        """Open the one beside the files, else the one that the config names."""
        own = self.folder / TOKENIZER
        if own.is_file():
            return open_tokenizer(own)
        if config.tokenizer in LEARNED:
            pickled = (self.folder / NANOGPT_META).is_file()
            raise ValueError(
                f"The token files in {self.folder} come without {TOKENIZER}; name the tokenizer "
                "they were made with: --tokenizer gpt2, or the path of one."
                + (
                    f" {NANOGPT_META} is a pickle, which could run any program, and is never "
                    "opened; nanoGPT's characters are learned from its input.txt with --tokenizer "
                    "char."
                    if pickled
                    else ""
                )
            )
        return make_tokenizer(config.tokenizer, list, list, 0, False)

    def ids(self, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
        """Open the ids, which must be the tokenizer's."""
        files = TokenFolder.open(self.place, tokenizer)
        train = files.train.ids
        if files.validation is not None:
            return train, files.validation.ids
        if not self.validation_fraction:
            return train, train[:0]
        cut = cut_of(len(train), self.validation_fraction)
        return train[:cut], train[cut:]

    def held_out_bytes(self) -> None:
        """Return None: there is no text."""

    def keep(self, folder: Path) -> str:
        """Copy nothing: token files are read where they are."""
        return str(Path(self.place).absolute())


def open_source(config: DataConfig, whole: bool = False) -> Source:
    """Read a text, or open token files: a folder of them, one alone, or a glob.

    Parameters
    ----------
    config : DataConfig
    whole : bool
        Hold nothing out, unless token files have a part for it.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_corpus` and `TokenFolder.open`.
    """
    fraction = 0.0 if whole else config.validation_fraction
    if holds_token_files(config.corpus):
        files = TokenFolder.open(config.corpus)
        parts = files.folder, files.train, files.validation
        return TokenFiles(*parts, str(config.corpus), fraction)
    corpus = load_corpus(config.corpus, config.field, config.errors)
    return Texts(corpus.name, corpus.documents, config.corpus, fraction)
