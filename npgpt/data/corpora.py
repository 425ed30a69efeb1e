"""Texts to learn from: built-in ones by name, the user's own by path."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from npgpt.data.built_in import BUILT_IN_CORPORA
from npgpt.data.reading import STANDARD_INPUT, Piece, find_paths, read_pieces
from npgpt.data.token_files import LARGEST_UINT16_VOCABULARY
from npgpt.tokenizers.base import Tokenizer

MUCH = 0.001  # of the held-out text that is learned too: short documents are alike by chance
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A named list of documents.

    Attributes
    ----------
    name : str
    documents : list of str

    Examples
    --------
    >>> corpus = Corpus("greetings", ["hello", "grüezi"])
    >>> corpus.num_characters, corpus.num_bytes
    (11, 12)
    """

    name: str
    documents: list[str]

    @functools.cached_property
    def num_characters(self) -> int:
        """Characters of all documents."""
        return sum(map(len, self.documents))

    @property
    def size(self) -> str:
        """How much there is, in words."""
        return f"{self.num_characters:,} characters"

    @functools.cached_property
    def num_bytes(self) -> int:
        """Bytes of all documents in UTF-8."""
        return sum(len(_to_bytes(document)) for document in self.documents)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of the documents and of where each ends."""
        digest = hashlib.sha256()
        for document in self.documents:
            content = _to_bytes(document)
            digest.update(len(content).to_bytes(8, "little"))
            digest.update(content)
        return digest.hexdigest()


def _to_bytes(document: str) -> bytes:
    return document.encode("utf-8", "surrogatepass")  # a document made in Python may hold anything


def load_corpus(source: str | Path, field: str = "text", errors: str = "strict") -> Corpus:
    """Read a corpus.

    Parameters
    ----------
    source : str or Path
        The path of a UTF-8 text file, of a folder (all ``.txt``, ``.md`` and ``.jsonl`` files below
        it), a glob such as ``texts/**/*.txt``, ``-`` for standard input, or the name of a built-in
        corpus (``python-docs``, ``python-source``). A file or folder that exists is read even if it
        has a built-in name. Each file is a document, each line of a ``.jsonl`` file is one; files
        whose name ends in ``.gz`` are unpacked. Files come in the order of their names. A
        byte-order mark is dropped, line ends stay as they are.
    field : str
        Where the text is in an object of a ``.jsonl`` file.
    errors : {"strict", "replace", "ignore"}
        What to do with bytes that are not UTF-8, as in `bytes.decode`.

    Returns
    -------
    Corpus

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    ValueError
        If a file is empty, damaged, or not UTF-8; the place is named.
    """
    name = corpus_name(source)
    documents: list[str] = []
    parts: list[str] = []
    for piece, ends in stream_corpus(source, field, errors):
        parts.append(piece)
        if ends:
            documents.append("".join(parts))
            parts = []
    return Corpus(name, documents)


def corpus_name(source: str | Path) -> str:
    """Return what a corpus is called: the name of its file, folder or pattern."""
    if source == STANDARD_INPUT:
        return "stdin"
    return Path(source).name or Path(source).resolve().name  # "." has no name of its own


def is_built_in(source: str | Path) -> bool:
    """Say whether a source is the name of a built-in corpus, and not of a file."""
    return str(source) in BUILT_IN_CORPORA and not Path(source).exists()


def stream_corpus(
    source: str | Path, field: str = "text", errors: str = "strict"
) -> Iterator[Piece]:
    """Read a corpus piece by piece; takes and raises the same as `load_corpus`.

    Yields
    ------
    text : str
        A document, or a part of one that was cut off before white space.
    ends : bool
        Whether the document ends here.
    """
    if source == STANDARD_INPUT:
        yield from read_pieces(STANDARD_INPUT, field, errors)
        return
    if is_built_in(source):
        for document in BUILT_IN_CORPORA[str(source)]():
            yield document, True
        return
    paths = find_paths(source)
    if not paths:
        raise FileNotFoundError(
            f"There is no file, folder or match for {source}, and no built-in corpus of that "
            f"name (there is {', '.join(BUILT_IN_CORPORA)})."
        )
    for path in paths:
        yield from read_pieces(path, field, errors)


def split_corpus(corpus: Corpus, validation_fraction: float = 0.1) -> tuple[list[str], list[str]]:
    """Cut off the end of a corpus, to validate on.

    Parameters
    ----------
    corpus : Corpus
    validation_fraction : float
        Share of the characters, above 0 and below 1. The cut is at character
        ``int(n * (1 - validation_fraction))``, in nanoGPT's place; the document in which it falls
        is divided. Documents that stand in both parts are counted, and logged if
        they are more than 0.1 per cent.

    Returns
    -------
    train_documents, validation_documents : list of str

    Raises
    ------
    ValueError
        If the fraction is out of range.

    Examples
    --------
    >>> split_corpus(Corpus("abc", ["abcdef", "ghij"]), validation_fraction=0.5)
    (['abcde'], ['f', 'ghij'])
    """
    cut = cut_of(corpus.num_characters, validation_fraction)
    train_documents, validation_documents = [], []
    for document in corpus.documents:
        if document[:cut]:
            train_documents.append(document[:cut])
        if document[cut:]:
            validation_documents.append(document[cut:])
        cut = max(0, cut - len(document))
    _log_documents_in_both(corpus.name, train_documents, validation_documents)
    return train_documents, validation_documents


def _log_documents_in_both(name: str, train: list[str], held_out: list[str]) -> None:
    """Say so if a loss on the held-out part is too good to be true."""
    learned = set(train)
    both = [document for document in held_out if document in learned]
    characters = sum(map(len, both)), sum(map(len, held_out))
    if characters[0] > MUCH * characters[1]:
        logger.warning(
            "%s: %s of %s held-out documents (%s of %s characters) are in the part to train on "
            "too.",
            name,
            *(f"{n:,}" for n in (len(both), len(held_out))),
            *(f"{n:,}" for n in characters),
        )


def cut_of(num_characters: int, validation_fraction: float) -> int:
    """Return how many characters `split_corpus` leaves to train on."""
    if not 0.0 < validation_fraction < 1.0:
        raise ValueError(
            f"validation_fraction must be above 0 and below 1, got {validation_fraction}."
        )
    # rounded, because 1.0 - 0.9 is 0.09999999999999998 and not 0.1
    return int(num_characters * round(1.0 - validation_fraction, 12))


def encode_documents(
    documents: Sequence[str],
    tokenizer: Tokenizer,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Encode documents to one array, with the end-of-text token between them.

    Parameters
    ----------
    documents : sequence of str
    tokenizer : Tokenizer
        One without an end-of-text token joins the documents directly.
    progress : function, optional
        Called with (documents done, documents in all); it never changes the result.

    Returns
    -------
    ndarray of uint16, or of uint32 if the vocabulary is larger than 65,536
    """
    dtype = np.uint16 if tokenizer.vocab_size <= LARGEST_UINT16_VOCABULARY else np.uint32
    pieces = [np.empty(0, dtype)]
    for i, document in enumerate(documents):
        if i and tokenizer.end_of_text_id is not None:
            pieces.append(np.array([tokenizer.end_of_text_id], dtype))
        pieces.append(tokenizer.encode(document).astype(dtype))
        if progress:
            progress(i + 1, len(documents))
    return np.concatenate(pieces)
