"""The two parts of a corpus as token files: those of npgpt tokenize, of llm.c and of nanoGPT."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Self

from npgpt.data.token_files import TokenFile, holds_tokens, is_binary, read_tokens

TRAIN_FILES = ("train.bin",)
VALIDATION_FILES = ("validation.bin", "val.bin")
# llm.c's data scripts write tiny_shakespeare_train.bin and _val.bin, or fineweb_train_000001.bin
# and so on: a corpus in shards
PART = r"(?i)(?:(?P<corpus>.+)[_.-])?{}(?:[_.-]?\d+)?\.bin"
TRAIN_NAME = re.compile(PART.format("train"))
VALIDATION_NAME = re.compile(PART.format("(?:val|valid|validation)"))


@dataclasses.dataclass(frozen=True)
class TokenFolder:
    """A folder with the token files of a corpus.

    Attributes
    ----------
    folder : Path
    train : TokenFile
    validation : TokenFile, optional
        None if a file was named that has no other for this part beside it.
    """

    folder: Path
    train: TokenFile
    validation: TokenFile | None

    @classmethod
    def open(cls, source: str | Path, tokenizer: Any = None) -> Self:
        """Open the files; takes and raises the same as `read_tokens`.

        Parameters
        ----------
        source : path
            A folder, the file of the training part, or a glob that finds its shards. The held-out
            part is ``validation.bin`` or ``val.bin`` beside ``train.bin``, and ``X_val.bin`` beside
            ``X_train.bin``. A file of one part is a memory map; several shards of a part are read
            into memory, in the order of their names.
        tokenizer : Tokenizer, optional
            The one whose ids they must be.

        Raises
        ------
        FileNotFoundError
            If a part is missing in a folder, or nothing is there.
        ValueError
            If the folder holds the files of several corpora; or as `read_tokens`.
        """
        train, validation = find_parts(source)
        folder = Path(source) if Path(source).is_dir() else train[0].parent
        held_out = _read(validation, tokenizer) if validation else None
        return cls(folder, _read(train, tokenizer), held_out)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def size(self) -> str:
        """How much there is, in words."""
        return f"{sum(len(part.ids) for part in self._parts):,} tokens in files"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of both files' ids."""
        both = "".join(part.fingerprint for part in self._parts)
        return hashlib.sha256(both.encode()).hexdigest()

    @property
    def _parts(self) -> list[TokenFile]:
        return [part for part in (self.train, self.validation) if part is not None]


def holds_token_files(source: str | Path) -> bool:
    """Say whether a source is a folder of token files, one of them, or a glob of them.

    A file is one if its header says so, whatever its name is; without a header, as nanoGPT writes
    them, if its name is that of a part, such as ``train.bin``, or ends in ``.bin`` and its content
    is no text.
    """
    path = Path(source)
    if path.is_dir():
        return bool(_training_part(path))
    if path.is_file():
        return _is_token_file(path)
    shards = _shards(source)
    return bool(shards) and all(map(_is_token_file, shards))


def _is_token_file(path: Path) -> bool:
    named = TRAIN_NAME.fullmatch(path.name) or VALIDATION_NAME.fullmatch(path.name)
    return bool(named) or is_binary(path)


def find_parts(source: str | Path) -> tuple[list[Path], list[Path]]:
    """Find the files of the training part and of the held-out part; raises as `TokenFolder.open`.

    The latter may be none if a file was named.
    """
    path = Path(source)
    if not path.is_dir():
        found = [path] if path.is_file() else _shards(source)
        if not found:
            raise FileNotFoundError(f"There is no token file {source}.")
        # a glob may find both parts; a corpus of held-out files alone is learned from
        train = [path for path in found if not VALIDATION_NAME.fullmatch(path.name)] or found
        return train, _held_out_beside(train[0])
    train = _training_part(path)
    if not train:
        raise FileNotFoundError(_missing("training", path, TRAIN_FILES))
    validation = _held_out_beside(train[0])
    if not validation:
        raise FileNotFoundError(_missing("validation", path, VALIDATION_FILES))
    return train, validation


def _missing(part: str, folder: Path, names: Sequence[str]) -> str:
    return f"In {folder} there is no {part} part ({' or '.join(names)}, or as llm.c names them)."


def _training_part(folder: Path) -> list[Path]:
    """Return ``train.bin``, or the files with headers whose names say that they are this part."""
    for name in TRAIN_FILES:
        if (folder / name).is_file():
            return [folder / name]
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        match = TRAIN_NAME.fullmatch(path.name)
        if match and path.is_file() and holds_tokens(path):
            found.setdefault(match["corpus"] or "", []).append(path)
    if len(found) > 1:
        some = ", ".join(str(paths[0]) for paths in found.values())
        raise ValueError(f"{folder} holds the token files of several corpora: name one of {some}.")
    return next(iter(found.values()), [])


def _held_out_beside(train: Path) -> list[Path]:
    """Find the held-out part of the corpus that a file is the training part of."""
    match = TRAIN_NAME.fullmatch(train.name)
    if match is None:
        return []
    for name in () if match["corpus"] else VALIDATION_FILES:
        if (train.parent / name).is_file():
            return [train.parent / name]
    return [
        path
        for path in sorted(train.parent.iterdir())
        if (other := VALIDATION_NAME.fullmatch(path.name)) and other["corpus"] == match["corpus"]
    ]


def _shards(pattern: str | Path) -> list[Path]:
    return sorted(p for p in map(Path, glob.glob(str(pattern), recursive=True)) if p.is_file())


def _read(paths: Sequence[Path], tokenizer: Any) -> TokenFile:
    files = [read_tokens(path, tokenizer) for path in paths]
    if len(files) == 1:
        return files[0]
    return TokenFile(files[0].path, np.concatenate([file.ids for file in files]), {})
