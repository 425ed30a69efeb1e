"""The ``tokenizer.json`` of Hugging Face's tokenizers library, for byte-level BPE."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from npgpt.tokenizers.byte_alphabet import BYTE_TO_CHARACTER, to_characters
from npgpt.tokenizers.special import AddedToken
from npgpt.tokenizers.template import WHOLE, Template, from_processor, to_processor
from npgpt.tokenizers.unsupported import Unsupported

T = TypeVar("T")
Pair = tuple[int, int]
Ids = Sequence[int] | np.ndarray | None  # of tokens, in the order of their places, if another

FORMAT = "tokenizer.json"  # of a file that names none
# model settings that change what a text is encoded to; GPT-2's file has them null or empty
FOREIGN_SETTINGS = ("dropout", "ignore_merges", "continuing_subword_prefix", "end_of_word_suffix")
# names that only special tokens have, as trainers write them to a vocabulary without a list of them
BRACKETED = re.compile(r"(?s)<.+>|\[.+\]")
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")  # of an added token


class Parts(NamedTuple):
    """What a `BPETokenizer` is made of.

    Attributes
    ----------
    merges, special_tokens, ids, template
        Its arguments.
    vocabulary : mapping of str to int
        The ids of all tokens by their names in the file.
    """

    merges: list[Pair]
    special_tokens: list[AddedToken]
    ids: list[int]
    vocabulary: Mapping[str, int]
    template: Template = WHOLE

    def make(self, cls: Callable[..., T]) -> T:
        """Make a tokenizer of them."""
        return cls(self.merges, self.special_tokens, self.ids, self.template)


def to_json(
    tokens: Sequence[bytes],
    merges: Sequence[Pair],
    added_ids: Mapping[str, int],
    ids: Ids = None,
    added_tokens: Iterable[AddedToken] = (),
    template: Template = WHOLE,
) -> dict[str, Any]:
    """Make the content of a ``tokenizer.json``.

    Parameters
    ----------
    tokens : sequence of bytes
        Bytes and merges, in the order of their places.
    merges : sequence of (int, int)
        Pairs of places.
    added_ids : mapping of str to int
        Of the tokens that are found before others.
    ids : sequence of int, optional
        The id of each place, where it is another number.
    added_tokens : iterable of AddedToken
        What is to be known of them; those that are not listed are special.
    template : tuple of int or None
        Of a prompt.
    """
    byte_level = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    names = [to_characters(token) for token in tokens]
    numbers = range(len(tokens)) if ids is None else map(int, ids[: len(tokens)])
    vocabulary = dict(zip(names, numbers, strict=True)) | dict(added_ids)
    traits = {token.content: token for token in added_tokens}
    name_of = {token_id: name for name, token_id in vocabulary.items()}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": token_id,
                "content": name,
                **{f: getattr(traits.get(name) or AddedToken(name, True), f) for f in FLAGS},
            }
            for name, token_id in sorted(added_ids.items(), key=lambda item: item[1])
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", **byte_level},
        "post_processor": to_processor(template, name_of),
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


def from_json(content: dict[str, Any]) -> Parts:
    """Take a tokenizer's parts out of the content of a ``tokenizer.json``.

    Parameters
    ----------
    content : dict
        What may be left out of it has the library's default.

    Returns
    -------
    Parts
        Whose merges are pairs of places, bytes, then merges; whose ids are those of bytes, merges
        and the added tokens that are none of them.

    Raises
    ------
    KeyError
        If the model, its vocabulary or its merges are missing.
    Unsupported
        If it is not a byte-level BPE with GPT-2's pre-tokens, or asks for what would give other ids
        here than the file's maker meant.
    ValueError
        If its parts do not fit each other.
    """
    model = content["model"]
    kind = model.get("type", "BPE" if "merges" in model else None)
    if kind != "BPE":
        raise Unsupported(f"its model is {kind!r}, not 'BPE'")
    for setting in FOREIGN_SETTINGS:
        if model.get(setting):
            raise Unsupported(f"its model sets {setting} to {model[setting]!r}")
    normalizer = _only(content.get("normalizer"), "normalizers")
    if normalizer is not None:
        raise Unsupported(f"its normalizer is {_type(normalizer)}, where there must be none")
    _check_pre_tokenizer(_only(content.get("pre_tokenizer"), "pretokenizers"))
    decoder = _only(content.get("decoder"), "decoders")
    if decoder is not None and decoder.get("type") != "ByteLevel":
        raise Unsupported(f"its decoder is {_type(decoder)}, not 'ByteLevel'")
    ids = dict(model["vocab"])
    for name, token_id in ids.items():
        if type(token_id) is not int:
            raise ValueError(f"its id of {name!r} is {token_id!r}, not an integer")
    added, following = [], len(ids)
    for token in sorted(content.get("added_tokens") or (), key=lambda token: token["id"]):
        name, token_id = token["content"], token["id"]
        add_id(ids, name, token_id, following)
        following = max(following, token_id + 1)
        added.append(added_token(name, token))
    template = from_processor(content.get("post_processor"))
    return from_vocabulary(ids, model["merges"], added)._replace(template=template)


def add_id(ids: dict[str, int], name: str, token_id: Any, following: int) -> None:
    """Give an added token the id that a file says, unless it has it already.

    Raises
    ------
    Unsupported
        If it is new and has not the following id: the tokenizers library would give it that one.
    ValueError
        If it has another.
    """
    if type(token_id) is not int or ids.get(name, token_id) != token_id:
        raise ValueError(f"its token {name!r} has the ids {ids.get(name)!r} and {token_id!r}")
    if name not in ids and token_id != following:
        raise Unsupported(
            f"its added token {name!r} has the id {token_id}, not the following one, {following}, "
            "which the tokenizers library would give it"
        )
    ids[name] = token_id


def added_token(name: str, flags: Mapping[str, Any]) -> AddedToken:
    """Read an added token as JSON has it."""
    values = {flag: flags.get(flag, False) for flag in FLAGS}
    for flag, value in values.items():
        if not isinstance(value, bool):
            raise ValueError(f"its token {name!r} has {value!r} for {flag}, not true or false")
    return AddedToken(name, **values)


def _check_pre_tokenizer(part: dict[str, Any] | None) -> None:
    if part is None:
        raise Unsupported("it has no pre_tokenizer, where there must be GPT-2's 'ByteLevel'")
    if part.get("type") != "ByteLevel":
        raise Unsupported(f"its pre_tokenizer is {_type(part)}, not GPT-2's 'ByteLevel'")
    for setting, default, only in (("add_prefix_space", True, False), ("use_regex", True, True)):
        if part.get(setting, default) is not only:
            found = part.get(setting, default)
            raise Unsupported(f"its pre_tokenizer sets {setting} to {found!r}, not {only}")


def _only(part: dict[str, Any] | None, members: str) -> dict[str, Any] | None:
    """Take a part out of a sequence of one, and None for a sequence of none."""
    while part is not None and part.get("type") == "Sequence" and len(part[members]) < 2:
        part = part[members][0] if part[members] else None
    return part


def _type(part: dict[str, Any]) -> str:
    """Name a part, and those that it is a sequence of."""
    inner = [v for v in part.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
    names = [str(member.get("type")) for member in inner[0]] if inner else []
    return repr(part.get("type")) + (f" of {', '.join(names)}" if names else "")


def from_vocabulary(
    ids: Mapping[str, int],
    merges: Iterable[str | Sequence[str]],
    added_tokens: Sequence[AddedToken],
) -> Parts:
    """Put tokens that are written with printable names in the order of their places.

    Parameters
    ----------
    ids : mapping of str to int
        Of every token.
    merges : iterable of "left right" or (left, right)
    added_tokens : sequence of AddedToken
        Tokens named like ``<s>`` or ``[PAD]`` that nothing makes are special ones, listed or not.

    Raises
    ------
    Unsupported
        If there is another token that is neither a byte nor a merge nor added.
    ValueError
        If a byte has no token, or a merge is not of two tokens.
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
    known = {*places, *(token.content for token in added_tokens)}
    rest = sorted(ids.keys() - known, key=lambda name: ids[name])
    for name in rest:
        if not BRACKETED.fullmatch(name):
            raise Unsupported(
                f"its token {name!r} is neither a byte nor a merge nor special or added"
            )
    added_tokens = [*added_tokens, *(AddedToken(name, special=True) for name in rest)]
    new = [token.content for token in added_tokens if token.content not in places]
    for name in (*places, *new):
        if name not in ids:
            raise ValueError(f"its vocabulary has no {name!r}")
    return Parts(pairs, added_tokens, [ids[name] for name in (*places, *new)], ids)
