"""Text files in pieces: found, unpacked, decoded, cut into documents."""

from __future__ import annotations

import codecs
import contextlib
import glob
import gzip
import json
import logging
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from npgpt.data.token_files import begins_binary

TEXT_SUFFIXES = (".jsonl", ".md", ".txt")  # what a folder is searched for, packed (.gz) or not
STANDARD_INPUT = "-"
NO_TEXTS = {"__MACOSX", "__pycache__"}  # folders that a system or Python makes beside texts
PIECE_SIZE = 1 << 20  # bytes that are read at once
ERROR_HANDLERS = ("strict", "replace", "ignore")

logger = logging.getLogger(__name__)

Piece = tuple[str, bool]  # some text, and whether its document ends with it


def find_paths(source: str | Path) -> list[Path]:
    """Find the files of a file, a folder or a glob, in the order of their names.

    In a folder, hidden files and folders (their names begin with a dot, as those of
    ``.ipynb_checkpoints``) are left out, and what systems and programs put there (``__MACOSX``,
    ``__pycache__``); in a glob, what Python's `glob` leaves out. Links are followed, but a file
    that is reached twice is taken once. What is left out is logged.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if not path.is_dir():
        found = map(Path, glob.glob(str(source), recursive=True))
        return _each_once(sorted(p for p in found if p.is_file()), str(source))
    visible, hidden = _text_files(path)
    _log_left_out(path, hidden, "hidden")
    paths = _each_once(visible, str(path))
    if not paths:
        raise FileNotFoundError(
            f"There is no .txt, .md or .jsonl file, nor one of them as .gz, in the folder {path}."
        )
    return paths


def _text_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the text files in a folder, and those that are hidden, each in order.

    Links to folders are followed, but none is entered twice: a link may lead to a folder above it.
    """
    entered: set[tuple[int, int]] = set()

    def walk(top: Path, hidden_too: bool) -> Iterator[Path]:
        for place, folders, names in os.walk(top, followlinks=True, onerror=_log_error):
            here = os.stat(place)
            if (here.st_dev, here.st_ino) in entered:
                folders.clear()
                continue
            entered.add((here.st_dev, here.st_ino))
            if not hidden_too:
                hidden_folders.extend(Path(place, name) for name in folders if _is_hidden(name))
                folders[:] = [name for name in folders if not _is_hidden(name)]
            folders.sort()
            paths = (Path(place, name) for name in names)
            yield from (p for p in paths if _kind(p) in TEXT_SUFFIXES and p.is_file())

    hidden_folders: list[Path] = []
    found = sorted(walk(folder, hidden_too=False))  # first: a link may lead into a hidden folder
    visible = [path for path in found if not _is_hidden(path.name)]
    hidden = [path for path in found if _is_hidden(path.name)]
    for top in hidden_folders:
        hidden += walk(top, hidden_too=True)
    return visible, sorted(hidden)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in NO_TEXTS


def _log_error(error: OSError) -> None:
    logger.warning("%s cannot be read: %s.", error.filename, error.strerror)


def _each_once(paths: list[Path], source: str) -> list[Path]:
    """Leave out the paths that lead to a file that an earlier one leads to, by whatever links."""
    seen: set[tuple[int, int]] = set()
    again = []
    for path in paths:
        file = path.stat()
        if (file.st_dev, file.st_ino) in seen:
            again.append(path)
        seen.add((file.st_dev, file.st_ino))
    _log_left_out(source, again, "a link to another of them")
    return [path for path in paths if path not in set(again)]


def _log_left_out(source: str | Path, paths: list[Path], why: str) -> None:
    if paths:
        count = "1 text file is" if len(paths) == 1 else f"{len(paths):,} text files are"
        first = "" if len(paths) == 1 else "the first is "
        logger.warning("%s: %s left out, being %s: %s%s.", source, count, why, first, paths[0])


def read_pieces(path: str | Path, field: str = "text", errors: str = "strict") -> Iterator[Piece]:
    """Read a file piece by piece, so that it may be larger than the memory.

    Parameters
    ----------
    path : path
        ``-`` is standard input. A name that ends in ``.gz`` is unpacked, one in ``.jsonl`` (or
        ``.jsonl.gz``) has a JSON object with a document on each line. Any other file is a document.
    field : str
        Where the text is in a JSON object.
    errors : {"strict", "replace", "ignore"}
        What to do with bytes that are not UTF-8, as in `bytes.decode`.

    Yields
    ------
    text : str
        A document, or a part of one that was cut off before white space. A byte-order mark is
        dropped, line ends stay as they are.
    ends : bool
        Whether the document ends here.

    Raises
    ------
    ValueError
        If the file is empty, damaged, not UTF-8, or not JSON where it should be.
    """
    if errors not in ERROR_HANDLERS:
        raise ValueError(f"errors must be one of {', '.join(ERROR_HANDLERS)}, got {errors!r}.")
    name = "Standard input" if path == STANDARD_INPUT else str(path)
    with _opened(path) as stream:
        text = _decoded(stream, name, errors)
        kind = _kind(Path(path))
        pieces = _of_json_lines(text, name, field) if kind == ".jsonl" else _of_plain_text(text)
        found = False
        for piece in pieces:
            found = True
            yield piece
    if not found:
        raise ValueError(f"{name} is empty.")


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[IO[bytes]]:
    if path == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    with open(path, "rb") as file:
        if Path(path).suffix.lower() != ".gz":
            yield file
            return
        with gzip.open(file) as unpacked:
            yield unpacked  # type: ignore[misc]


def _decoded(stream: IO[bytes], name: str, errors: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors)
    offset, at_start, last = 0, True, False
    while not last:
        try:
            content = stream.read(PIECE_SIZE)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{name} cannot be unpacked: {error}.") from None
        last = not content
        if not offset and begins_binary(content):
            raise ValueError(
                f"{name} holds token ids, not text; npgpt train takes such a file as it is."
            )
        kept = len(decoder.getstate()[0])  # the beginning of a character, from the piece before
        try:
            text = decoder.decode(content, final=last)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{name} is not UTF-8 text: byte 0x{error.object[error.start]:02x} at offset "
                f'{offset - kept + error.start} cannot be decoded; errors="replace" reads on with '
                "U+FFFD in its place."
            ) from None
        offset += len(content)
        if at_start and text:
            text, at_start = text.removeprefix("\ufeff"), False
        if text:
            yield text


def _of_plain_text(chunks: Iterator[str]) -> Iterator[Piece]:
    rest = ""
    for chunk in chunks:
        text = rest + chunk
        cut = safe_cut(text)
        if cut:
            yield text[:cut], False
        rest = text[cut:]
    if rest:
        yield rest, True


def safe_cut(text: str) -> int:
    """Return the last place where a text can be cut without a tokenizer noticing, or 0.

    That is before a space or a new line that stands after something else than white space: no
    pre-token goes on from there, and none looks further to decide where it ends.

    Examples
    --------
    >>> safe_cut("to be or")
    5
    """
    end = len(text)
    while (cut := max(text.rfind(" ", 0, end), text.rfind("\n", 0, end))) > 0:
        if not text[cut - 1].isspace():
            return cut
        end = cut
    return 0


def _of_json_lines(chunks: Iterator[str], name: str, field: str) -> Iterator[Piece]:
    for number, line in enumerate(_lines(chunks), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            raise ValueError(f"{name}, line {number} is not JSON.") from None
        if not isinstance(content, dict):
            raise ValueError(f"{name}, line {number} is not a JSON object.")
        if field not in content:
            raise ValueError(
                f"{name}, line {number} has no field {field!r}; it has "
                f"{', '.join(map(repr, content)) or 'none'}."
            )
        if not isinstance(content[field], str):
            raise ValueError(f"{name}, line {number}: the field {field!r} is not a text.")
        if content[field]:
            yield content[field], True


def _lines(chunks: Iterator[str]) -> Iterator[str]:
    parts: list[str] = []  # of a line that goes on
    for chunk in chunks:
        *whole, rest = chunk.split("\n")
        for line in whole:
            yield "".join([*parts, line])
            parts = []
        parts.append(rest)
    yield "".join(parts)
