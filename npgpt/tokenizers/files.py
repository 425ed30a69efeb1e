"""Reading a tokenizer file, whichever kind it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from npgpt.tokenizers.bpe import BPETokenizer
from npgpt.tokenizers.char import CHAR_FORMAT, CharTokenizer
from npgpt.tokenizers.gpt2 import as_gpt2
from npgpt.tokenizers.word import WORD_FORMAT, WordTokenizer
from npgpt.tokenizers.word_bpe import WORD_BPE_FORMAT, WordBPETokenizer

AnyTokenizer = BPETokenizer | CharTokenizer | WordTokenizer | WordBPETokenizer
T = TypeVar("T", BPETokenizer, CharTokenizer, WordTokenizer, WordBPETokenizer)
KINDS = {CHAR_FORMAT: CharTokenizer, WORD_FORMAT: WordTokenizer, WORD_BPE_FORMAT: WordBPETokenizer}


def load(path: str | Path) -> AnyTokenizer:
    """Read a tokenizer file.

    Parameters
    ----------
    path : path
        Written by ``save``, or a byte-level BPE ``tokenizer.json`` of Hugging Face.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or of a kind that is not known here.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no tokenizer file {path}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("its JSON is not an object")
        kind = content.get("format")
        if isinstance(kind, str) and kind in KINDS:
            return KINDS[kind].from_dict(content)  # type: ignore[attr-defined]
        return as_gpt2(BPETokenizer.from_dict(content))
    except KeyError as error:
        raise ValueError(f"{path} is not a whole tokenizer file: {error} is missing.") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error).removesuffix(".")
        raise ValueError(f"{path} is not a whole tokenizer file: {reason}.") from None


def load_as(kind: type[T], path: str | Path) -> T:
    """Read a tokenizer file that must be of one kind.

    Parameters
    ----------
    kind : type
        A tokenizer's class.
    path : path

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or of another kind.
    """
    tokenizer = load(path)
    if not isinstance(tokenizer, kind):
        raise ValueError(f"{path} holds a {type(tokenizer).__name__}, not a {kind.__name__}.")
    return tokenizer
