"""GPT-2's pre-tokens: no merge crosses from one to the next."""

from __future__ import annotations

import regex

# GPT-2's pattern of pre-tokens (Radford et al. 2019; released code)
PRE_TOKEN = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)


def pre_tokens(text: str) -> list[str]:
    """Cut a text.

    Examples
    --------
    >>> pre_tokens("I'm  sure: 100%")
    ['I', "'m", ' ', ' sure', ':', ' 100', '%']
    """
    return PRE_TOKEN.findall(text)


def pre_tokens_of_bytes(content: bytes) -> list[bytes]:
    """Cut bytes; those that are not UTF-8 count as characters that are neither letter nor digit."""
    text = content.decode("utf-8", "surrogateescape")
    return [part.encode("utf-8", "surrogateescape") for part in pre_tokens(text)]
