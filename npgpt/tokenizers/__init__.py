"""Tokenizers: from text to integer ids and back.

`CharTokenizer` gives every character an id; `BPETokenizer` merges bytes to subwords, as GPT-2 does.
Both train, encode, decode, save and load; `load` reads either kind of file.
"""

from npgpt.tokenizers.base import Tokenizer
from npgpt.tokenizers.bpe import BPETokenizer
from npgpt.tokenizers.char import CharTokenizer
from npgpt.tokenizers.files import load

__all__ = ["BPETokenizer", "CharTokenizer", "Tokenizer", "load"]
