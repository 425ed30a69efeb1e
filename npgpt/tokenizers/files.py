"""Reading a tokenizer file, whichever kind it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from npgpt.files import TOKENIZER
from npgpt.tokenizers.base import read_tokenizer
from npgpt.tokenizers.bpe import BPETokenizer
from npgpt.tokenizers.char import CharTokenizer
from npgpt.tokenizers.for_transformers import from_transformers
from npgpt.tokenizers.gpt2 import as_gpt2, bpe_of_folder
from npgpt.tokenizers.tokenizer_json import FORMAT
from npgpt.tokenizers.word import WordTokenizer
from npgpt.tokenizers.word_bpe import WordBPETokenizer
from npgpt.tokenizers.word_piece import WordPieceTokenizer
from npgpt.tokenizers.word_piece_file import is_word_piece
from npgpt.tokenizers.word_piece_folder import VOCABULARY, word_piece_of_folder

AnyTokenizer = BPETokenizer | CharTokenizer | WordTokenizer | WordBPETokenizer | WordPieceTokenizer


def load(path: str | Path) -> AnyTokenizer:
    """Read a tokenizer file.

    Parameters
    ----------
    path : path
        Written by ``save``, or a ``tokenizer.json`` of Hugging Face with a byte-level BPE or
        BERT's WordPiece.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or of a kind that is not known here.
    """
    own = (CharTokenizer, WordTokenizer, WordBPETokenizer)
    makers = {kind.FORMAT: kind.from_dict for kind in own}
    return read_tokenizer(path, {**makers, FORMAT: _from_hugging_face})


def load_folder(folder: str | Path) -> AnyTokenizer:
    """Read the tokenizer in a folder of a pretrained model, or of a run.

    Parameters
    ----------
    folder : path
        With ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``, or ``encoder.json`` and
        ``vocab.bpe``, or BERT's ``vocab.txt``. Beside a vocabulary of byte pairs
        ``added_tokens.json``, ``special_tokens_map.json`` and ``tokenizer_config.json`` are read
        too, as transformers does; beside a WordPiece the flags of ``tokenizer_config.json``.
        Truncation and padding are not read.

    Returns
    -------
    Tokenizer
        A `GPT2Tokenizer` if it is GPT-2's vocabulary.

    Raises
    ------
    FileNotFoundError
        If the files are not there.
    ValueError
        If one is damaged, or asks for what npgpt does not support.
    """
    folder = Path(folder)
    if (folder / TOKENIZER).is_file():
        tokenizer = load(folder / TOKENIZER)
        if isinstance(tokenizer, WordPieceTokenizer):
            return word_piece_of_folder(folder, tokenizer)
        if not isinstance(tokenizer, BPETokenizer):
            return tokenizer
    elif (folder / VOCABULARY).is_file():
        return word_piece_of_folder(folder)
    return as_gpt2(bpe_of_folder(folder))


def _from_hugging_face(content: dict[str, Any]) -> AnyTokenizer:
    """Make a tokenizer from a ``tokenizer.json``: a byte-level BPE, a WordPiece, or one of ours."""
    if is_word_piece(content):
        return WordPieceTokenizer.from_dict(content)
    ours = from_transformers(content)
    return as_gpt2(BPETokenizer.from_dict(content)) if ours is None else ours
