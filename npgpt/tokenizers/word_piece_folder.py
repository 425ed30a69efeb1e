"""WordPiece in the folder of a model: ``vocab.txt``, and the files beside it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from npgpt.files import TOKENIZER
from npgpt.tokenizers.companions import CONFIG, SPECIAL, read_config
from npgpt.tokenizers.word_piece import WordPieceTokenizer
from npgpt.tokenizers.word_piece_file import ROLES, flags_of

VOCABULARY = "vocab.txt"


def word_piece_of_folder(
    folder: Path, tokenizer: WordPieceTokenizer | None = None
) -> WordPieceTokenizer:
    """Read a WordPiece from ``vocab.txt``, or take that of ``tokenizer.json``, with its flags.

    What ``tokenizer_config.json`` says (``do_lower_case``, ``strip_accents``,
    ``tokenize_chinese_chars``) comes first, as in transformers.

    Raises
    ------
    ValueError
        If a file is damaged, or asks for what npgpt does not support.
    """
    arguments: dict[str, Any]
    if tokenizer is None:
        arguments = {"tokens": read_vocabulary(folder / VOCABULARY)}
    else:
        arguments = {
            "tokens": tokenizer.tokens,
            **dataclasses.asdict(tokenizer.normalization),
            "max_characters": tokenizer.max_characters,
            "special_tokens": tokenizer.added_tokens,
        }
    try:
        flags = flags_of(read_config(folder / CONFIG))
        return WordPieceTokenizer(**{**arguments, **flags})
    except (ValueError, TypeError) as error:
        reason = str(error).removesuffix(".")
        raise ValueError(f"{folder}: the parts of its tokenizer do not fit: {reason}.") from None


def read_vocabulary(path: Path) -> list[str]:
    """Read a ``vocab.txt``: a token a line, whose id is the line's number.

    Of a token that is there twice the last one counts, as in the tokenizers library.

    Raises
    ------
    ValueError
        If it is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a whole vocabulary: {error}.") from None
    lines = [line.rstrip() for line in text.removesuffix("\n").split("\n")]
    last = {line: i for i, line in enumerate(lines)}
    return [line if last[line] == i else "" for i, line in enumerate(lines)]


def files_of(tokenizer: WordPieceTokenizer) -> dict[str, bytes]:
    """Return the files, name and content, that ``AutoTokenizer`` reads as a ``BertTokenizer``.

    Raises
    ------
    ValueError
        If an id is no token's, or a token ends in white space, which ``vocab.txt`` cannot say.
    """
    how = tokenizer.normalization
    for name in tokenizer.tokens:
        if not name or name != name.rstrip() or "\n" in name:
            raise ValueError(
                f"save_pretrained: {VOCABULARY} cannot hold the token {name!r}; such a tokenizer "
                "is kept in a run folder."
            )
    roles: dict[str, Any] = {
        role: name for role, name in ROLES.items() if name in tokenizer.special_ids
    }
    more = [name for name in tokenizer.special_tokens if name not in ROLES.values()]
    if more:
        roles["additional_special_tokens"] = more
    config = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": how.lowercase,
        "strip_accents": how.strip_accents,
        "tokenize_chinese_chars": how.handle_chinese_chars,
        "clean_up_tokenization_spaces": False,
        **roles,
    }
    return {
        TOKENIZER: tokenizer.to_json().encode(),
        VOCABULARY: "".join(f"{name}\n" for name in tokenizer.tokens).encode(),
        CONFIG: (json.dumps(config, indent=2) + "\n").encode(),
        SPECIAL: (json.dumps(roles, indent=2) + "\n").encode(),
    }
