"""The ``tokenizer.json`` of Hugging Face's tokenizers library, for byte-level BPE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from npgpt.tokenizers.byte_alphabet import BYTE_TO_CHARACTER, to_characters

Pair = tuple[int, int]
Ids = Sequence[int] | np.ndarray | None  # of tokens, in the order of their places, if another

FORMAT = "tokenizer.json"  # of a file that names none
# model settings that change what a text is encoded to; GPT-2's file has them null or empty
FOREIGN_SETTINGS = ("dropout", "ignore_merges", "continuing_subword_prefix", "end_of_word_suffix")


# what an added token may ask for that is not done here
FOREIGN_TRAITS = ("single_word", "lstrip", "rstrip")


def to_json(
    tokens: Sequence[bytes],
    merges: Sequence[Pair],
    special_ids: Mapping[str, int],
    ids: Ids = None,
) -> dict[str, Any]:
    """Make the content of a ``tokenizer.json``.

    Parameters
    ----------
    tokens : sequence of bytes
        Bytes and merges, in the order of their places.
    merges : sequence of (int, int)
        Pairs of places.
    special_ids : mapping of str to int
    ids : sequence of int, optional
        The id of each place, where it is another number.
    """
    byte_level = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    names = [to_characters(token) for token in tokens]
    numbers = range(len(tokens)) if ids is None else map(int, ids[: len(tokens)])
    vocabulary = dict(zip(names, numbers, strict=True)) | dict(special_ids)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": token_id,
                "content": name,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for name, token_id in special_ids.items()
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", **byte_level},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", **byte_level},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": dict(sorted(vocabulary.items(), key=lambda item: item[1])),
            "merges": [[names[left], names[right]] for left, right in merges],
        },
    }


def from_json(content: dict[str, Any]) -> tuple[list[Pair], list[str], list[int]]:
    """Take a tokenizer's parts out of the content of a ``tokenizer.json``.

    Parameters
    ----------
    content : dict

    Returns
    -------
    merges : list of (int, int)
        Pairs of places: bytes, then merges.
    special_tokens : list of str
    ids : list of int
        Of bytes, merges and special tokens.

    Raises
    ------
    KeyError
        If a part is missing.
    ValueError
        If it is not a byte-level BPE with GPT-2's pre-tokens, which would give other ids than the
        file's maker meant.
    """
    model = content["model"]
    if model["type"] != "BPE":
        raise ValueError(f"its model is {model['type']!r}, not 'BPE'")
    for setting in FOREIGN_SETTINGS:
        if model.get(setting):
            raise ValueError(f"its model sets {setting}, which is not supported here")
    if content["normalizer"] is not None:
        raise ValueError("it has a normalizer, which is not supported here")
    pre_tokenizer = content["pre_tokenizer"] or {}
    if (
        pre_tokenizer.get("type") != "ByteLevel"
        or pre_tokenizer.get("add_prefix_space", True)
        or not pre_tokenizer.get("use_regex", True)
    ):
        raise ValueError("its pre_tokenizer is not GPT-2's, ByteLevel without a prefix space")
    ids = dict(model["vocab"])
    special: dict[str, int] = {}
    for token in sorted(content["added_tokens"], key=lambda token: token["id"]):
        name, token_id = token["content"], token["id"]
        for trait in FOREIGN_TRAITS:
            if token.get(trait):
                raise ValueError(f"its token {name!r} asks for {trait}, which is not supported")
        if ids.get(name, token_id) != token_id:
            raise ValueError(f"its token {name!r} has the ids {ids[name]} and {token_id}")
        special[name] = ids[name] = token_id
    for name, token_id in ids.items():
        if not isinstance(token_id, int):
            raise ValueError(f"its id of {name!r} is {token_id!r}, not an integer")
    return from_vocabulary(ids, model["merges"], list(special))


def from_vocabulary(
    ids: Mapping[str, int], merges: Iterable[str | Sequence[str]], special_tokens: Sequence[str]
) -> tuple[list[Pair], list[str], list[int]]:
    """Put tokens that are written with printable names in the order of their places.

    Parameters
    ----------
    ids : mapping of str to int
        Of every token.
    merges : iterable of "left right" or (left, right)
    special_tokens : sequence of str

    Returns
    -------
    merges, special_tokens, ids
        As `from_json` returns them.

    Raises
    ------
    ValueError
        If a byte has no token, a merge is not of two tokens, or there is a token that is neither a
        byte nor a merge nor special.
    """
    places = {name: place for place, name in enumerate(BYTE_TO_CHARACTER.values())}
    pairs = []
    for i, merge in enumerate(merges):
        # older files write a merge as "left right", newer ones as a list
        names = merge.split(" ") if isinstance(merge, str) else merge
        if len(names) != 2 or not all(name in places for name in names):
            raise ValueError(f"its merge {i}, {merge!r}, is not two tokens that are there by then")
        pairs.append((places[names[0]], places[names[1]]))
        places.setdefault(names[0] + names[1], len(places))
    for name in (*places, *special_tokens):
        if name not in ids:
            raise ValueError(f"its vocabulary has no {name!r}")
    if len(ids) != len(places) + len(special_tokens):
        rest = next(iter(ids.keys() - places.keys() - set(special_tokens)), None)
        raise ValueError(f"its token {rest!r} is neither a byte nor a merge nor special")
    order = [ids[name] for name in (*places, *special_tokens)]
    return pairs, list(special_tokens), order
