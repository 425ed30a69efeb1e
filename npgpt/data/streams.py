"""From a corpus to token files without either being in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from npgpt.data.corpora import corpus_name, cut_of, stream_corpus
from npgpt.data.reading import STANDARD_INPUT, Piece
from npgpt.data.token_files import token_writer
from npgpt.data.token_folder import TRAIN_FILES, VALIDATION_FILES
from npgpt.files import TOKENIZER, refuse_used
from npgpt.tokenizers.base import Tokenizer

Progress = Callable[[int, int], None]


class StreamedCorpus:
    """A corpus that is read anew each time, piece by piece.

    Parameters
    ----------
    source, field, errors
        As in `load_corpus`. Standard input, which can be read once, is kept in memory.
    validation_fraction : float
        As in `split_corpus`, whose parts these are.

    Attributes
    ----------
    name : str
    num_characters : int
    """

    def __init__(
        self,
        source: str | Path,
        validation_fraction: float = 0.1,
        field: str = "text",
        errors: str = "strict",
    ):
        self.name = corpus_name(source)
        self._read: Callable[[], Iterable[Piece]] = lambda: stream_corpus(source, field, errors)
        if source == STANDARD_INPUT:
            kept = [*self._read()]
            self._read = lambda: kept
        self.num_characters = sum(len(text) for text, _ in self._read())
        self._cut = cut_of(self.num_characters, validation_fraction)

    def pieces(self) -> Iterable[Piece]:
        """Read the corpus from its beginning."""
        return self._read()

    def parts(self) -> Iterator[tuple[bool, Piece]]:
        """Yield pieces, each with whether it belongs to the part that is held out."""
        place = 0
        for text, ends in self._read():
            inside = max(0, min(len(text), self._cut - place))
            place += len(text)
            if text[:inside]:
                yield False, (text[:inside], ends or place >= self._cut)
            if text[inside:]:
                yield True, (text[inside:], ends)

    def train_texts(self) -> Iterator[str]:
        """Yield the texts of the part to train on."""
        for held_out, (text, _) in self.parts():
            if held_out:
                return
            yield text


def encode_pieces(pieces: Iterable[Piece], tokenizer) -> Iterator[np.ndarray]:
    """Encode documents that come in pieces, with the end-of-text token between them.

    Parameters
    ----------
    pieces : iterable of (str, bool)
        From `stream_corpus`.
    tokenizer : Tokenizer

    Yields
    ------
    ndarray of int64
        Put together they are what `encode_documents` returns.
    """
    encoder = DocumentEncoder(tokenizer)
    for piece in pieces:
        yield encoder(piece)


class DocumentEncoder:
    """Encodes pieces, and puts the end-of-text token before each document but the first.

    A tokenizer that looks across white space gets each document whole.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._ended = False
        self._waits = getattr(tokenizer, "looks_around", False)
        self._kept: list[str] = []

    def __call__(self, piece: Piece) -> np.ndarray:
        """Return the ids of one piece, or of all since the last document's end."""
        text, ends = piece
        if self._waits:
            self._kept.append(text)
            if not ends:
                return np.empty(0, np.int64)
            text, self._kept = "".join(self._kept), []
        ids, end = self._tokenizer.encode(text), self._tokenizer.end_of_text_id
        if self._ended and end is not None:
            ids = np.concatenate([[end], ids])
        self._ended = ends
        return ids


def write_token_folder(
    folder: str | Path,
    corpus: StreamedCorpus,
    tokenizer: Tokenizer,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Encode a corpus to a folder of token files.

    Parameters
    ----------
    folder : path
        Made if need be; gets ``tokenizer.json``, ``train.bin`` and ``validation.bin``.
    corpus : StreamedCorpus
    tokenizer : Tokenizer
    progress : function, optional
        Called with (characters done, characters in all).

    Returns
    -------
    train_tokens, validation_tokens : int

    Raises
    ------
    FileExistsError
        If the folder holds something.
    ValueError
        If a part would be empty.
    """
    folder = Path(folder)
    refuse_used(folder)
    if corpus.num_characters < 2:
        raise ValueError(f"{corpus.name} has {corpus.num_characters} characters, too few to split.")
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / TRAIN_FILES[0], folder / VALIDATION_FILES[0]
    with (
        token_writer(paths[0], tokenizer, corpus.name) as train,
        token_writer(paths[1], tokenizer, corpus.name) as validation,
    ):
        encoders = DocumentEncoder(tokenizer), DocumentEncoder(tokenizer)
        done = 0
        for held_out, piece in corpus.parts():
            (validation if held_out else train).write(encoders[held_out](piece))
            done += len(piece[0])
            if progress:
                progress(done, corpus.num_characters)
    tokenizer.save(folder / TOKENIZER)
    return train.num_tokens, validation.num_tokens
