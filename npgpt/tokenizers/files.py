"""Reading a tokenizer file, whichever kind it is."""

from __future__ import annotations

from pathlib import Path

from npgpt.tokenizers.base import read_tokenizer
from npgpt.tokenizers.bpe import BPETokenizer
from npgpt.tokenizers.char import CharTokenizer
from npgpt.tokenizers.gpt2 import as_gpt2
from npgpt.tokenizers.tokenizer_json import FORMAT
from npgpt.tokenizers.word import WordTokenizer
from npgpt.tokenizers.word_bpe import WordBPETokenizer

AnyTokenizer = BPETokenizer | CharTokenizer | WordTokenizer | WordBPETokenizer


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
    own = (CharTokenizer, WordTokenizer, WordBPETokenizer)
    makers = {kind.FORMAT: kind.from_dict for kind in own}
    return read_tokenizer(path, {**makers, FORMAT: lambda c: as_gpt2(BPETokenizer.from_dict(c))})
