"""Which tokens a byte-level BPE has, and their ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from npgpt.tokenizers.byte_alphabet import BYTE_TO_CHARACTER, to_characters
from npgpt.tokenizers.special import AddedToken
from npgpt.tokenizers.tokenizer_json import Ids, Pair

NUM_BYTES = 256
LARGEST_VOCABULARY = 2**20  # an id in a file takes no more memory than this many tokens


class Vocabulary(NamedTuple):
    """All tokens of a byte-level BPE.

    Attributes
    ----------
    tokens : list of bytes
        Bytes and merges, in the order of their places.
    pieces : list of bytes
        All tokens, those that are added among them, by their ids; empty where an id is unused.
    order : ndarray of int64 or None
        The id of each place, where that is not the place itself.
    added_ids : dict of str to int
        The tokens that are added, and their ids.
    unused_ids : tuple of int
        Those below the largest that stand for no token.
    """

    tokens: list[bytes]
    pieces: list[bytes]
    order: np.ndarray | None
    added_ids: dict[str, int]
    unused_ids: tuple[int, ...]


def vocabulary_of(
    merges: Iterable[Pair], special_tokens: Sequence[str | AddedToken], ids: Ids, who: str
) -> Vocabulary:
    """Put together what a `BPETokenizer` is made from.

    Parameters
    ----------
    merges, special_tokens, ids
        As for `npgpt.tokenizers.BPETokenizer`.
    who : str
        Whose they are, for the errors.

    Raises
    ------
    ValueError
        As `npgpt.tokenizers.BPETokenizer` does.
    """
    tokens = [bytes([byte]) for byte in BYTE_TO_CHARACTER]
    names = [t if isinstance(t, str) else t.content for t in special_tokens]
    # those of a file may be like a token of the vocabulary
    special = [token.encode() for token in special_tokens if isinstance(token, str)]
    known = {*tokens, *special}
    if not all(names) or len(known) < NUM_BYTES + len(special) or len({*names}) < len(names):
        raise ValueError(
            f"{who}: special tokens must have names of more than one byte, each once, got "
            f"{', '.join(map(repr, names))}."
        )
    for left, right in merges:
        if not (0 <= left < len(tokens) and 0 <= right < len(tokens)):
            raise ValueError(
                f"{who}: merge {len(tokens) - NUM_BYTES} joins {left} and {right}, but there "
                f"are only {len(tokens)} tokens by then."
            )
        token = tokens[left] + tokens[right]
        if token in known:  # training never makes one twice, and a file names tokens by bytes
            raise ValueError(
                f"{who}: merge {len(tokens) - NUM_BYTES} makes {token!r}, which is a token already."
            )
        known.add(token)
        tokens.append(token)
    places = dict(zip(map(to_characters, tokens), range(len(tokens)), strict=True))
    new = [name for name in names if name not in places]  # the others have a token's own id
    places |= dict(zip(new, range(len(tokens), len(tokens) + len(new)), strict=True))
    order = _checked_order(ids, len(places), who)
    pieces = [*tokens, *(name.encode() for name in new)]
    unused_ids: tuple[int, ...] = ()
    if order is not None:
        by_id = dict(zip(order.tolist(), pieces, strict=True))
        unused_ids = tuple(i for i in range(max(by_id)) if i not in by_id)
        pieces = [by_id.get(i, b"") for i in range(max(by_id) + 1)]
    added_ids = {
        name: places[name] if order is None else int(order[places[name]]) for name in names
    }
    return Vocabulary(tokens, pieces, order, added_ids, unused_ids)


def byte_ids() -> list[int]:
    """List the id of each byte."""
    ids = {byte: i for i, byte in enumerate(BYTE_TO_CHARACTER)}
    return [ids[byte] for byte in range(NUM_BYTES)]


def _checked_order(ids: Ids, size: int, who: str) -> np.ndarray | None:
    if ids is None:
        return None
    order = np.array([i if 0 <= i < LARGEST_VOCABULARY else -1 for i in ids], np.int64)
    if len(order) != size or len(np.unique(order)) < size or order.min() < 0:
        raise ValueError(
            f"{who}: ids must be {size}, one for each token, each once, from 0 to below "
            f"{LARGEST_VOCABULARY:,}."
        )
    return None if np.array_equal(order, np.arange(size)) else order
