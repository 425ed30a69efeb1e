"""Tokenizers: from text to integer ids and back.

`CharTokenizer` gives every character an id; `BPETokenizer` merges bytes to subwords, as GPT-2 does;
`GPT2Tokenizer` is GPT-2's own. They train, encode, decode, save and load; `load` reads either
kind of file, `load_folder` the vocabulary of a pretrained model.
"""

from npgpt.tokenizers.base import Tokenizer
from npgpt.tokenizers.bpe import BPETokenizer
from npgpt.tokenizers.char import CharTokenizer
from npgpt.tokenizers.files import load
from npgpt.tokenizers.gpt2 import GPT2Tokenizer, bpe_from_files, load_folder

__all__ = [
    "BPETokenizer",
    "CharTokenizer",
    "GPT2Tokenizer",
    "Tokenizer",
    "bpe_from_files",
    "load",
    "load_folder",
]
