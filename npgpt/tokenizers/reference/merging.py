"""Byte-pair encoding of a pre-token (Sennrich, Haddow and Birch 2016, arXiv 1508.07909)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from npgpt.tokenizers.reference.pre_tokens import pre_tokens_of_bytes
from npgpt.tokenizers.reference.training import Pair, merge_pair


def apply_merges(ids: Sequence[int], merges: dict[Pair, int]) -> list[int]:
    """Merge the pair that was learned first, everywhere, until no pair was learned.

    Parameters
    ----------
    ids : sequence of int
    merges : dict of (int, int) to int
        The token that a pair becomes; those learned earlier have lower ids.

    Examples
    --------
    >>> apply_merges([1, 2, 3, 1, 2], {(2, 3): 4, (1, 2): 5})
    [1, 4, 5]
    """
    ids = list(ids)
    while known := {merges[pair]: pair for pair in pairwise(ids) if pair in merges}:
        first = min(known)
        ids = merge_pair(ids, known[first], first)
    return ids


def encode(content: bytes, byte_ids: Sequence[int], merges: dict[Pair, int]) -> list[int]:
    """Turn bytes into ids, pre-token by pre-token.

    Parameters
    ----------
    content : bytes
    byte_ids : sequence of int
        The id of each of the 256 bytes.
    merges : dict of (int, int) to int
    """
    ids = []
    for pre_token in pre_tokens_of_bytes(content):
        ids += apply_merges([byte_ids[byte] for byte in pre_token], merges)
    return ids
