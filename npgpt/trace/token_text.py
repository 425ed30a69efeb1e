"""Tokens as a person can read them, whatever bytes they stand for."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Sequence

import numpy as np

from npgpt.tokenizers import Tokenizer

SIGNS = {" ": "␣", "\n": "↵", "\t": "⇥"}
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}  # controls, marks of direction, blanks
DOTTED_CIRCLE = "◌"


@dataclasses.dataclass(frozen=True)
class TokenText:
    r"""A token's id and text.

    Attributes
    ----------
    id : int
    shown : str
        Printable characters only: blanks have signs; controls, and bytes that are part of a
        character, are written as ``\x00``.
    exact : str
        As a Python literal, of str or bytes.
    """

    id: int
    shown: str
    exact: str

    @classmethod
    def of(cls, tokenizer: Tokenizer, token_id: int) -> TokenText:
        """Look a token up."""
        token_id = int(token_id)
        # some models have more rows than there are tokens, and a vocabulary may have holes
        if token_id >= tokenizer.vocab_size or token_id in getattr(tokenizer, "unused_ids", ()):
            return cls(token_id, f"#{token_id}", "no token")
        token_bytes = getattr(tokenizer, "token_bytes", None)
        if token_bytes is None:
            text = tokenizer.decode([token_id])
            return cls(token_id, visible(text), repr(text))
        raw: bytes = token_bytes(token_id)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return cls(token_id, visible(raw.decode(errors="backslashreplace")), repr(raw))
        return cls(token_id, visible(text), repr(text))


def labels_of(tokenizer: Tokenizer, token_ids: Sequence[int] | np.ndarray) -> list[str]:
    """Write tokens one by one, as the axes of a picture show them; the end of a text as ``end``.

    Parameters
    ----------
    tokenizer : Tokenizer
    token_ids : sequence of int
    """
    end = tokenizer.end_of_text_id
    return ["end" if i == end else TokenText.of(tokenizer, i).shown for i in token_ids]


def visible(text: str) -> str:
    r"""Write a text with printable characters only.

    Examples
    --------
    >>> visible("a b\n\0\u202e")
    'a␣b↵\\x00U+202E'
    """
    shown = "".join(map(_visible, text))
    if text and unicodedata.category(text[0]).startswith("M"):  # would join what stands before it
        shown = DOTTED_CIRCLE + shown
    return shown or "∅"


def printable(text: str) -> str:
    r"""Write a text with blanks as they are, and signs for what cannot be printed.

    Examples
    --------
    >>> printable("my model\n")
    'my model↵'
    """
    return "".join(c if c.isprintable() else _visible(c) for c in text)


def _visible(character: str) -> str:
    if character in SIGNS:
        return SIGNS[character]
    if ord(character) < 0x20 or ord(character) == 0x7F:
        return f"\\x{ord(character):02x}"
    if unicodedata.category(character) in UNSEEN:
        return f"U+{ord(character):04X}"
    return character
