"""The ``tokenizer.json`` of WordPiece, as Hugging Face's tokenizers library has it for BERT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from npgpt.tokenizers.bert_characters import Normalization
from npgpt.tokenizers.special import AddedToken
from npgpt.tokenizers.tokenizer_json import FLAGS, add_id, added_token
from npgpt.tokenizers.unsupported import Unsupported

PAD, UNKNOWN, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
ROLES = {
    "pad_token": PAD, "unk_token": UNKNOWN, "cls_token": CLS, "sep_token": SEP, "mask_token": MASK
}  # fmt: skip
PREFIX = "##"  # of tokens that go on within a word
LARGEST_VOCABULARY = 2**20  # an id in a file takes no more memory than this many tokens


def is_word_piece(content: Mapping[str, Any]) -> bool:
    """Say whether the content of a ``tokenizer.json`` is that of a WordPiece."""
    model = content.get("model")
    return isinstance(model, dict) and model.get("type") == "WordPiece"


def to_json(
    tokens: Sequence[str],
    how: Normalization,
    max_characters: int,
    added_tokens: Iterable[AddedToken],
) -> dict[str, Any]:
    """Make the content of a ``tokenizer.json``.

    Parameters
    ----------
    tokens : sequence of str
        By their ids; empty where an id is no token's.
    how : Normalization
    max_characters : int
    added_tokens : iterable of AddedToken
    """
    ids = {name: i for i, name in enumerate(tokens) if name}
    added = sorted(added_tokens, key=lambda token: ids[token.content])
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": ids[t.content], "content": t.content, **{f: getattr(t, f) for f in FLAGS}}
            for t in added
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": how.handle_chinese_chars,
            "strip_accents": how.strip_accents,
            "lowercase": how.lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": _template(ids) if {CLS, SEP} <= ids.keys() else None,
        "decoder": {"type": "WordPiece", "prefix": PREFIX, "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": UNKNOWN,
            "continuing_subword_prefix": PREFIX,
            "max_input_chars_per_word": max_characters,
            "vocab": ids,
        },
    }


def from_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """Take the arguments of a `WordPieceTokenizer` out of the content of a ``tokenizer.json``.

    Its truncation and padding are for batches, and are not read.

    Raises
    ------
    KeyError
        If the model or its vocabulary is missing.
    Unsupported
        If it is no WordPiece, or asks for what would give other ids here.
    ValueError
        If its parts do not fit each other.
    """
    model, normalizer = content["model"], content.get("normalizer") or {}
    if not is_word_piece(content):
        raise Unsupported(f"its model is {model.get('type')!r}, not 'WordPiece'")
    parts = [
        ("normalizer", "BertNormalizer", normalizer),
        ("pre_tokenizer", "BertPreTokenizer", content.get("pre_tokenizer") or {}),
        ("decoder", "WordPiece", content.get("decoder") or {"type": "WordPiece"}),
    ]
    for name, kind, part in parts:
        if part.get("type") != kind:
            raise Unsupported(f"its {name} is {part.get('type')!r}, not {kind!r}")
    settings: list[tuple[Mapping[str, Any], str, Any]] = [
        (model, "unk_token", UNKNOWN),
        (model, "continuing_subword_prefix", PREFIX),
        (normalizer, "clean_text", True),
    ]
    for part, key, only in settings:
        if part.get(key, only) != only:
            raise Unsupported(f"it sets {key} to {part[key]!r}, not {only!r}")
    ids = dict(model["vocab"])
    added = []
    for token in sorted(content.get("added_tokens") or (), key=lambda token: token["id"]):
        add_id(ids, token["content"], token["id"], max(ids.values(), default=-1) + 1)
        added.append(added_token(token["content"], token))
    _check_template(content.get("post_processor"), ids)
    flags = {
        "lowercase": normalizer.get("lowercase", True),
        "handle_chinese_chars": normalizer.get("handle_chinese_chars", True),
        "strip_accents": normalizer.get("strip_accents"),
    }
    _check_flags(flags)
    longest = model.get("max_input_chars_per_word", 100)
    if type(longest) is not int or longest < 1:
        raise ValueError(f"its max_input_chars_per_word is {longest!r}, not a number of characters")
    special = added or None
    return {"tokens": by_id(ids), **flags, "max_characters": longest, "special_tokens": special}


def by_id(ids: Mapping[str, int]) -> list[str]:
    """Put tokens in the order of their ids; the empty string where an id is none's.

    Raises
    ------
    ValueError
        If ids are not integers from 0 to below 2**20, each once.
    """
    for name, i in ids.items():
        if type(i) is not int or not 0 <= i < LARGEST_VOCABULARY:
            raise ValueError(f"its id of {name!r} is {i!r}, not one below {LARGEST_VOCABULARY:,}")
    names = dict(zip(ids.values(), ids, strict=True))
    if len(names) < len(ids):
        twice = next(name for name, i in ids.items() if names[i] != name)
        raise ValueError(f"its token {twice!r} has the id of another, {ids[twice]}")
    return [names.get(i, "") for i in range(max(names, default=-1) + 1)]


def flags_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Read from ``tokenizer_config.json`` what is done to a text; only what it says.

    Raises
    ------
    ValueError
        If a value is neither true nor false.
    """
    names = {
        "do_lower_case": "lowercase",
        "tokenize_chinese_chars": "handle_chinese_chars",
        "strip_accents": "strip_accents",
    }
    flags = {ours: config[theirs] for theirs, ours in names.items() if theirs in config}
    _check_flags(flags)
    return flags


def _check_flags(flags: Mapping[str, Any]) -> None:
    for name, value in flags.items():
        if not isinstance(value, bool) and not (name == "strip_accents" and value is None):
            raise ValueError(f"its {name} is {value!r}, not true or false")


def _template(ids: Mapping[str, int]) -> dict[str, Any]:
    def special(name: str, segment: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": segment}}

    def text(name: str, segment: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": segment}}

    single = [special(CLS, 0), text("A", 0), special(SEP, 0)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, text("B", 1), special(SEP, 1)],
        "special_tokens": {
            name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in (CLS, SEP)
        },
    }


def _check_template(part: Mapping[str, Any] | None, ids: Mapping[str, int]) -> None:
    """Raise Unsupported if a template is not BERT's, which `encode_pair` follows."""
    if part is None:
        return
    if part.get("type") == "BertProcessing":
        same = part["cls"] == [CLS, ids.get(CLS)] and part["sep"] == [SEP, ids.get(SEP)]
    else:
        ours = _template(ids) if {CLS, SEP} <= ids.keys() else {}
        same = all(part.get(key) == ours.get(key) for key in ("type", "single", "pair"))
    if not same:
        raise Unsupported(f"its post_processor is not BERT's, with {CLS} and {SEP} around a text")
