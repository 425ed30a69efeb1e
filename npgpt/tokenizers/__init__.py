"""Tokenizers: from text to integer ids and back.

`WordTokenizer` gives every word an id, `CharTokenizer` every character; `BPETokenizer` merges bytes
to subwords, as GPT-2 does, and `WordBPETokenizer` characters of words, as it is taught;
`GPT2Tokenizer` is GPT-2's own; `WordPieceTokenizer` takes the longest pieces of words, as BERT;
`MarianTokenizers` are the two of a MarianMT, through SentencePiece's package.
They train, encode, decode, save and load; `load` reads any of their files, `load_folder` the
vocabulary of a pretrained model.
"""

from npgpt.tokenizers.base import Tokenizer
from npgpt.tokenizers.bpe import BPETokenizer
from npgpt.tokenizers.char import CharTokenizer
from npgpt.tokenizers.compression import compress, decompress
from npgpt.tokenizers.files import load, load_folder
from npgpt.tokenizers.gpt2 import GPT2Tokenizer, bpe_from_files
from npgpt.tokenizers.marian import MarianTokenizers, SentencePieces
from npgpt.tokenizers.merge_step import MergeStep
from npgpt.tokenizers.pairs import EncodedPair
from npgpt.tokenizers.special import AddedToken
from npgpt.tokenizers.word import WordTokenizer
from npgpt.tokenizers.word_bpe import WordBPETokenizer
from npgpt.tokenizers.word_piece import WordPieceTokenizer

__all__ = [
    "AddedToken",
    "BPETokenizer",
    "CharTokenizer",
    "EncodedPair",
    "GPT2Tokenizer",
    "MarianTokenizers",
    "MergeStep",
    "SentencePieces",
    "Tokenizer",
    "WordBPETokenizer",
    "WordPieceTokenizer",
    "WordTokenizer",
    "bpe_from_files",
    "compress",
    "decompress",
    "load",
    "load_folder",
]
