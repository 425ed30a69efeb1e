"""Tokenizers as ``AutoTokenizer`` of transformers reads them.

A `BPETokenizer` has that form by itself. Characters and words are written as the library's
``WordLevel``, the teaching form of BPE as its ``BPE`` with a blank for the end of a word; and such
a file is read as what it was written from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from npgpt.files import TOKENIZER
from npgpt.tokenizers.base import END_OF_TEXT, UNKNOWN, Tokenizer
from npgpt.tokenizers.bpe import BPETokenizer
from npgpt.tokenizers.char import CharTokenizer
from npgpt.tokenizers.companions import CONFIG as TOKENIZER_CONFIG
from npgpt.tokenizers.word import WordTokenizer
from npgpt.tokenizers.word_bpe import WordBPETokenizer
from npgpt.tokenizers.word_piece import WordPieceTokenizer
from npgpt.tokenizers.word_piece_folder import files_of

OurOwn = CharTokenizer | WordTokenizer | WordBPETokenizer
# white space as Python has it, which is not quite the library's; the last is the ideographic one
SPACES = "".join(c for c in map(chr, range(0x3001)) if c.isspace())
SPACE = "[" + "".join(f"\\x{{{ord(c):x}}}" for c in SPACES) + "]"
MARKS = r"[,.:;?_!\"()']|--"  # of `WordTokenizer`
# No text of words has these two as a token: an underscore is one by itself.
UNKNOWN_WORD, END_OF_WORDS = "<|unknown_word|>", "<|end_of_text|>"
# read as it is: GPT-2's own class would add <|endoftext|>
GENERIC = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
BLANK = " "  # in the place of </w>, because no word has one


def files_for_transformers(tokenizer: Tokenizer) -> dict[str, bytes]:
    """Return the files, name and content, that ``AutoTokenizer`` reads a tokenizer from.

    It gives the same ids for any text; special tokens that stand in a text are recognised in it, as
    by ``encode(text, allowed_special="all")``.

    Raises
    ------
    ValueError
        If there is no such file: the vocabulary holds half of a surrogate pair, or twice the same
        token, or the tokenizer is of another kind.
    """
    if isinstance(tokenizer, WordPieceTokenizer):
        return files_of(tokenizer)
    if isinstance(tokenizer, BPETokenizer):
        content = tokenizer.to_json()
    else:
        content = json.dumps(_content(tokenizer), ensure_ascii=False, indent=1) + "\n"
    try:
        written = content.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"save_pretrained: the vocabulary holds {content[error.start]!r}, half of a surrogate "
            "pair, which tokenizer.json cannot; such a tokenizer is kept in a run folder."
        ) from None
    if isinstance(tokenizer, BPETokenizer) and END_OF_TEXT in tokenizer.special_tokens:
        return {TOKENIZER: written}  # as GPT-2's, which is the default beside a GPT-2
    return {TOKENIZER: written, TOKENIZER_CONFIG: (json.dumps(GENERIC, indent=2) + "\n").encode()}


def from_transformers(content: dict[str, Any]) -> OurOwn | None:
    """Read back what `files_for_transformers` wrote; None if it is something else."""
    model = content.get("model")
    if not isinstance(model, dict):
        return None
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, dict) or not all(type(i) is int for i in vocabulary.values()):
        return None
    if model.get("type") == "WordLevel":
        readers: list[Callable[..., OurOwn]] = [_as_characters, _as_words]
    else:
        readers = [_as_word_bpe] if content.get("normalizer") else []
    names = sorted(vocabulary, key=lambda name: vocabulary[name]) if readers else []
    for read in readers:
        try:
            tokenizer = read(names, content)
            same = ("model", "normalizer", "pre_tokenizer", "decoder", "added_tokens")
            written = _content(tokenizer)
            if all(content.get(key) == written[key] for key in same):
                return tokenizer
        except (KeyError, ValueError, TypeError, AttributeError, IndexError):
            continue
    return None


def _content(tokenizer: Any) -> dict[str, Any]:
    if isinstance(tokenizer, CharTokenizer):
        return _file(
            _word_level(tokenizer._names, UNKNOWN), _split(r"[\s\S]"), decoder={"type": "Fuse"}
        )
    if isinstance(tokenizer, WordTokenizer):
        model = _word_level([*tokenizer.words, UNKNOWN_WORD, END_OF_WORDS], UNKNOWN_WORD)
        if tokenizer.keep_whitespace:
            return _file(model, _split(f"{MARKS}|{SPACE}"), decoder={"type": "Fuse"})
        parts = [_split(SPACE, "Removed"), _split(MARKS)]
        return _file(model, {"type": "Sequence", "pretokenizers": parts})
    if isinstance(tokenizer, WordBPETokenizer):
        return _word_bpe(tokenizer)
    raise ValueError(
        f"save_pretrained: transformers has no {type(tokenizer).__name__}; save the model without "
        "it, and the tokenizer with its own save."
    )


def _word_level(names: Iterable[str], unknown: str) -> dict[str, Any]:
    vocabulary = {name: i for i, name in enumerate(names)}
    return {"type": "WordLevel", "vocab": vocabulary, "unk_token": unknown}


def _word_bpe(tokenizer: WordBPETokenizer) -> dict[str, Any]:
    names = [BLANK, *tokenizer.characters]
    names += [""] * len(tokenizer.merges)
    pairs = []
    for i, (left, right) in enumerate(tokenizer.merges, 1 + len(tokenizer.characters)):
        names[i] = names[left] + names[right]
        pairs.append([names[left], names[right]])
    # longer than one character, and not in a file's list of merges
    names += [f"{BLANK}{UNKNOWN}", f"{BLANK}{END_OF_TEXT}"]
    if len({*names}) < len(names):
        raise ValueError(
            "save_pretrained: two merges of the tokenizer make the same token, which no "
            "tokenizer.json says; such a tokenizer is kept in a run folder."
        )
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": names[-2],
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": {name: i for i, name in enumerate(names)},
        "merges": pairs,
    }
    # white space between words becomes one blank, that at the ends none, then each word ends in one
    steps = [(f"{SPACE}+", BLANK), (r"\A ", ""), (r" \z", ""), (r"(?<=[\s\S])\z", BLANK)]
    normalizer = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}
            for pattern, content in steps
        ],
    }
    split = _split(BLANK, "MergedWithPrevious")
    return _file(model, split, normalizer, {"type": "Fuse"})


def _split(pattern: str, behavior: str = "Isolated") -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}


def _file(
    model: dict[str, Any],
    pre_tokenizer: dict[str, Any],
    normalizer: dict[str, Any] | None = None,
    decoder: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": model,
    }


def _as_characters(names: list[str], content: dict[str, Any]) -> CharTokenizer:
    ends = names[-1] == END_OF_TEXT
    unknown = UNKNOWN if UNKNOWN in names else "error"
    return CharTokenizer([name for name in names if len(name) == 1], ends, unknown)


def _as_words(names: list[str], content: dict[str, Any]) -> WordTokenizer:
    return WordTokenizer(names[:-2], content["pre_tokenizer"]["type"] == "Split")


def _as_word_bpe(names: list[str], content: dict[str, Any]) -> WordBPETokenizer:
    number = {name: i for i, name in enumerate(names)}
    pairs = [(number[left], number[right]) for left, right in content["model"]["merges"]]
    return WordBPETokenizer([name for name in names[1:] if len(name) == 1], pairs)
