"""The ``tokenizer.json`` of Hugging Face's tokenizers library, for byte-level BPE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from npgpt.tokenizers.base import END_OF_TEXT
from npgpt.tokenizers.bpe_training import Pair
from npgpt.tokenizers.byte_alphabet import to_characters

# model settings that change what a text is encoded to; GPT-2's file has them null or empty
FOREIGN_SETTINGS = ("dropout", "ignore_merges", "continuing_subword_prefix", "end_of_word_suffix")


def vocabulary(tokens: Sequence[bytes]) -> dict[str, int]:
    """Map the printable name of each token to its id; ``<|endoftext|>`` comes last."""
    names = {to_characters(token): i for i, token in enumerate(tokens)}
    return {**names, END_OF_TEXT: len(tokens)}


def to_json(tokens: Sequence[bytes], merges: Sequence[Pair]) -> dict[str, Any]:
    """Make the content of a ``tokenizer.json``.

    Parameters
    ----------
    tokens : sequence of bytes
        The tokens but for ``<|endoftext|>``, in the order of their ids.
    merges : sequence of (int, int)
    """
    byte_level = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": len(tokens),
                "content": END_OF_TEXT,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
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
            "vocab": vocabulary(tokens),
            "merges": [
                [to_characters(tokens[left]), to_characters(tokens[right])]
                for left, right in merges
            ],
        },
    }


def from_json(content: dict[str, Any]) -> tuple[list[Pair], dict[str, int]]:
    """Take merges and vocabulary out of the content of a ``tokenizer.json``.

    Parameters
    ----------
    content : dict

    Returns
    -------
    merges : list of (int, int)
    ids : dict of str to int
        Of every token, the added ones too.

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
    for name, token_id in ids.items():
        if not isinstance(token_id, int):
            raise ValueError(f"its id of {name!r} is {token_id!r}, not an integer")
    merges = []
    for i, merge in enumerate(model["merges"]):
        # older files write a merge as "left right", newer ones as a list
        names = merge.split(" ") if isinstance(merge, str) else merge
        if len(names) != 2 or not all(name in ids for name in names):
            raise ValueError(f"its merge {i}, {merge!r}, is not two tokens of its vocabulary")
        merges.append((ids[names[0]], ids[names[1]]))
    return merges, ids | {token["content"]: token["id"] for token in content["added_tokens"]}
