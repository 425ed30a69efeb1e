"""Making or finding the tokenizer of a run or of token files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from npgpt import tokenizers
from npgpt.tokenizers import (
    BPETokenizer,
    CharTokenizer,
    GPT2Tokenizer,
    Tokenizer,
    WordPieceTokenizer,
    WordTokenizer,
)
from npgpt.tokenizers.base import END_OF_TEXT

LEARNED = ("bpe", "char", "word", "wordpiece")  # from the text
TOKENIZERS = (*LEARNED, "gpt2")

Progress = Callable[[int, int], None]


def check_tokenizer_name(name: str) -> None:
    """Raise ValueError if a name is neither that of a kind nor a path."""
    if name in TOKENIZERS or "/" in name or "\\" in name or name.endswith(".json"):
        return
    if not Path(name).exists():
        raise ValueError(
            f"tokenizer must be one of {', '.join(TOKENIZERS)}, or the path of a tokenizer's file "
            f"or folder, got {name!r}."
        )


def open_tokenizer(path: str | Path) -> Tokenizer:
    """Read a tokenizer from a file, or from a folder of a run, of token files or of a model.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If the file is damaged.
    """
    path = Path(path)
    return tokenizers.load(path) if path.is_file() else tokenizers.load_folder(path)


def make_tokenizer(
    kind: str,
    train_texts: Callable[[], Iterable[str]],
    all_texts: Callable[[], Iterable[str]],
    vocab_size: int,
    end_of_text: bool,
    progress: Progress | None = None,
    special_tokens: Sequence[str] = (),
) -> Tokenizer:
    """Learn a tokenizer from a text, or take one that is there.

    A vocabulary of byte pairs, words or their pieces is learned from the training part alone. A
    character vocabulary takes all of the text, because a held-out character that is not in it could
    not be encoded.

    Parameters
    ----------
    kind : str
        One of `TOKENIZERS`, or the path of a tokenizer.
    train_texts, all_texts : function
        They begin the texts anew when called.
    vocab_size : int
        Tokens of a vocabulary of byte pairs or pieces of words.
    end_of_text : bool
        Whether characters get a token between documents; one document needs none.
    progress : function, optional
        Called with (done, total).
    special_tokens : sequence of str
        Which a BPE vocabulary is to have beside ``<|endoftext|>``; others have those they have.
    """
    check_tokenizer_name(kind)
    if kind == "char":
        return CharTokenizer.train(all_texts(), end_of_text)
    if kind == "word":
        return WordTokenizer.train(train_texts())
    if kind == "bpe":
        special = (END_OF_TEXT, *special_tokens)
        return BPETokenizer.train(
            train_texts(), vocab_size, progress=progress, special_tokens=special
        )
    if kind == "wordpiece":
        return WordPieceTokenizer.train(train_texts(), vocab_size, progress=progress)
    if kind == "gpt2" and not Path(kind).exists():
        return GPT2Tokenizer.from_pretrained(kind)
    return open_tokenizer(kind)
