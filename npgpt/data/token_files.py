"""Files of token ids: written as a stream, read as memory maps.

A file begins with the eight bytes ``npgptids``, the version and the size of the header as two
uint32, and the header as JSON, filled up with spaces. The ids follow, little-endian. The headers of
llm.c and the files without one of nanoGPT are read too.
"""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from npgpt.files import atomic_path

MAGIC, VERSION, HEADER_SIZE = b"npgptids", 1, 1024
PREFIX = struct.Struct("<8sII")  # magic, version, size of the whole header
DTYPES: dict[str, np.dtype] = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}
LARGEST_UINT16_VOCABULARY = 2**16
# llm.c's header is 256 int32: a magic number, a version, the number of tokens (its
# dev/data/data_common.py: GPT-2's ids, and Llama 3's)
LLMC_HEADER = 256 * 4
LLMC_DTYPES: dict[tuple[int, int], np.dtype] = {
    (20240520, 1): DTYPES["uint16"],
    (20240801, 7): DTYPES["uint32"],
}
LLMC_MAGIC = range(20240101, 20250101)  # dates; other files of llm.c have other days
LLMC_QUESTIONS = 20240522


@dataclasses.dataclass(frozen=True)
class TokenFile:
    """The ids in a file, and what its header says.

    Attributes
    ----------
    path : Path
    ids : ndarray, shape (number of tokens,)
        A memory map, if they are all in one file.
    header : dict
        Empty for a file of llm.c or nanoGPT, which do not name their tokenizer.
    """

    path: Path
    ids: np.ndarray
    header: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the ids."""
        if "sha256" in self.header:
            return self.header["sha256"]
        return hashlib.sha256(self.ids.data).hexdigest()


class TokenWriter:
    """Takes ids, piece by piece, to a file; made by `token_writer`."""

    def __init__(self, file: IO[bytes], dtype: np.dtype):
        self._file, self._dtype = file, dtype
        self._digest = hashlib.sha256()
        self.num_tokens = 0

    def write(self, ids: np.ndarray) -> None:
        """Add ids to the file."""
        content = np.ascontiguousarray(ids, self._dtype)
        self._file.write(content.data)
        self._digest.update(content.data)
        self.num_tokens += len(content)

    @property
    def sha256(self) -> str:
        """Of the ids so far, in hexadecimal."""
        return self._digest.hexdigest()


@contextlib.contextmanager
def token_writer(path: str | Path, tokenizer, corpus: str = "") -> Iterator[TokenWriter]:
    """Write a file of ids; it is there whole when the block succeeds, and else not at all.

    Parameters
    ----------
    path : path
        Its folder must exist.
    tokenizer : Tokenizer
        Whose ids they are; its fingerprint is kept in the header.
    corpus : str
        The text's name, for the header.

    Yields
    ------
    TokenWriter
    """
    name = "uint16" if tokenizer.vocab_size <= LARGEST_UINT16_VOCABULARY else "uint32"
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(bytes(HEADER_SIZE))
        writer = TokenWriter(file, DTYPES[name])
        yield writer
        header = {
            "dtype": name,
            "num_tokens": writer.num_tokens,
            "corpus": corpus[:200],
            "tokenizer": type(tokenizer).__name__,
            "vocab_size": tokenizer.vocab_size,
            "end_of_text_id": tokenizer.end_of_text_id,
            "tokenizer_fingerprint": tokenizer.fingerprint,
            "sha256": writer.sha256,
        }
        text = json.dumps(header).encode().ljust(HEADER_SIZE - PREFIX.size)
        file.seek(0)
        file.write(PREFIX.pack(MAGIC, VERSION, HEADER_SIZE) + text)


def read_tokens(path: str | Path, tokenizer=None) -> TokenFile:
    """Open a file of ids without reading it into memory.

    Parameters
    ----------
    path : path
        Written by `token_writer`, or by llm.c (uint16 or uint32), whatever its name is; or a
        ``.bin`` of nanoGPT (uint16).
    tokenizer : Tokenizer, optional
        The one whose ids they must be.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged or something else, or was made with another tokenizer.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no token file {path}.")
    size = path.stat().st_size
    start = _start_of(path)
    if start.startswith(MAGIC):
        header, offset = _header(start, path)
        dtype, count = DTYPES[header["dtype"]], header["num_tokens"]
    else:
        header = {}
        dtype, count, offset = _foreign(start, path, size)
    if count < 0 or size != offset + count * dtype.itemsize:
        raise ValueError(
            f"{path} is not a whole token file: by its header it should have {count:,} tokens, "
            f"which take {offset + count * dtype.itemsize:,} bytes, and it has {size:,} bytes."
        )
    if count == 0:
        raise ValueError(f"{path} holds no tokens.")
    ids = np.memmap(path, dtype, "r", offset, (count,))
    if tokenizer is not None:
        _check_tokenizer(path, ids, header, tokenizer)
    return TokenFile(path, ids, header)


def holds_tokens(path: str | Path) -> bool:
    """Say whether a file has the header of npgpt's or of llm.c's token files."""
    start = _start_of(path)
    known = {magic for magic, _ in LLMC_DTYPES}
    return start.startswith(MAGIC) or (_is_llmc(start) and _magic_of(start) in known)


def is_binary(path: str | Path) -> bool:
    """Say whether a file holds ids by its beginning: a header, or a ``.bin`` that is no text."""
    start = _start_of(path)
    return begins_binary(start) or (Path(path).suffix.lower() == ".bin" and not _is_text(start))


def begins_binary(start: bytes) -> bool:
    """Say the same of a file with this beginning."""
    return start.startswith(MAGIC) or _is_llmc(start)


def _is_text(start: bytes) -> bool:
    try:
        # the beginning may end within a character
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return b"\0" not in start  # as the upper byte of a small id is


def _start_of(path: str | Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEADER_SIZE)


def _magic_of(start: bytes) -> int:
    return struct.unpack("<i", start[:4])[0]


def _is_llmc(start: bytes) -> bool:
    # no text begins so: the magic number's last byte is 1, a control character
    return len(start) >= 12 and _magic_of(start) in LLMC_MAGIC


def _header(start: bytes, path: Path) -> tuple[dict[str, Any], int]:
    try:
        _, version, size = PREFIX.unpack(start[: PREFIX.size])
        if version != VERSION:
            raise ValueError(f"its version is {version}, but only {VERSION} is known")
        header = json.loads(start[PREFIX.size : size])
        if header["dtype"] not in DTYPES or type(header["num_tokens"]) is not int:
            raise ValueError("its header is not what npgpt writes")
        return header, size
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise ValueError(f"{path} is not a whole token file: {error}.") from None


def _foreign(start: bytes, path: Path, size: int) -> tuple[np.dtype, int, int]:
    """Return dtype, number of tokens and their offset in a file of llm.c or nanoGPT."""
    if _is_llmc(start):
        magic, version, count = struct.unpack("<3i", start[:12])
        if (magic, version) in LLMC_DTYPES and len(start) >= LLMC_HEADER:
            return LLMC_DTYPES[magic, version], count, LLMC_HEADER
        kind = "the questions of an evaluation" if magic == LLMC_QUESTIONS else "something else"
        if magic in {known for known, _ in LLMC_DTYPES}:
            kind = f"a header cut short, or of version {version}, which is not known"
        raise ValueError(
            f"{path} is not a whole token file: it is a file of llm.c with the magic number "
            f"{magic}, and has {kind}."
        )
    if path.suffix.lower() != ".bin" or size % 2:
        raise ValueError(
            f"{path} is not a token file: it has neither npgpt's nor llm.c's header, and is not a "
            ".bin of uint16 as nanoGPT writes it."
        )
    return DTYPES["uint16"], size // 2, 0


def _check_tokenizer(path: Path, ids: np.ndarray, header: dict[str, Any], tokenizer) -> None:
    theirs = header.get("tokenizer_fingerprint")
    if theirs is not None and theirs != tokenizer.fingerprint:
        raise ValueError(
            f"{path} was made with another tokenizer, a {header.get('tokenizer')} of "
            f"{header.get('vocab_size')} tokens; encode the text anew with this one."
        )
    if theirs is None:
        highest = max(int(part.max()) for part in np.array_split(ids, len(ids) // 10**7 + 1))
        if highest >= tokenizer.vocab_size:
            raise ValueError(
                f"{path} holds the id {highest}, but the tokenizer has {tokenizer.vocab_size} "
                "tokens: it was made with another one."
            )
