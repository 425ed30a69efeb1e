"""The files beside a vocabulary that name tokens it does not have, or say more of those it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from npgpt import hub
from npgpt.tokenizers.special import AddedToken
from npgpt.tokenizers.template import WHOLE, Template
from npgpt.tokenizers.tokenizer_json import Parts, add_id, added_token
from npgpt.tokenizers.unsupported import Unsupported

CONFIG, SPECIAL, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
DECODER = "added_tokens_decoder"  # in CONFIG: id -> token
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
LISTS = ("additional_special_tokens", "extra_special_tokens")


def with_companions(parts: Parts, folder: Path) -> Parts:
    """Add what the companions of a vocabulary say, as transformers does.

    ``tokenizer_config.json`` lists tokens with their ids and flags in ``added_tokens_decoder``,
    ``added_tokens.json`` with their ids alone; names with a role, there or in
    ``special_tokens_map.json``, that are no tokens yet become special ones, with the next ids.

    Parameters
    ----------
    parts : Parts
        Of the vocabulary.
    folder : path

    Raises
    ------
    Unsupported
        If one asks for a space before every text, or an id is not the following one.
    ValueError
        If a file is damaged, or an id is that of another token.
    """
    config, listed, named = _beside(folder)
    if config.get("add_prefix_space"):
        raise Unsupported(f"{CONFIG} sets add_prefix_space to true, not false")
    tokens = {token.content: token for token in parts.special_tokens}
    ids, numbers = parts.vocabulary, dict(parts.vocabulary)
    for token_id, token in listed:
        add_id(numbers, token.content, token_id, max(numbers.values()) + 1)
        tokens[token.content] = token
    for name, token in named.items():
        numbers.setdefault(name, max(numbers.values()) + 1)
        tokens.setdefault(name, token)
    new = [numbers[name] for name in tokens if name not in ids]
    all_ids = [*parts.ids, *new]
    return parts._replace(special_tokens=[*tokens.values()], ids=all_ids, vocabulary=numbers)


def tokens_beside(folder: Path) -> dict[str, AddedToken]:
    """Return all tokens that the companions name, also those that the vocabulary may have."""
    _, listed, named = _beside(folder)
    return named | {token.content: token for _, token in listed}


def template_of(folder: Path, ids: Mapping[str, int]) -> Template:
    """Read what ``tokenizer_config.json`` puts around a text where no ``tokenizer.json`` says it.

    Raises
    ------
    ValueError
        If it is damaged, or names no token.
    """
    config = read_config(folder / CONFIG)
    if not config.get(DECODER):
        config = {**read_config(folder / SPECIAL), **config}
    template: Template = WHOLE
    for key, role, before in (
        ("add_bos_token", "bos_token", True),
        ("add_eos_token", "eos_token", False),
    ):
        if config.get(key):
            name = _content(config.get(role, "<|endoftext|>"))
            if name not in ids:
                raise ValueError(f"{CONFIG} asks for {key}, but {name!r} is no token")
            template = (ids[name], *template) if before else (*template, ids[name])
    return template


def _beside(
    folder: Path,
) -> tuple[dict[str, Any], list[tuple[int, AddedToken]], dict[str, AddedToken]]:
    """Return the config, the tokens that are listed with their ids, and those with a role."""
    config, special, added = (read_config(folder / name) for name in (CONFIG, SPECIAL, ADDED))
    # with a list in the config, the other two files are of an earlier time
    named = dict(_named(config if config.get(DECODER) else {**special, **config}))
    listed = [(token_id, added_token(t["content"], t)) for token_id, t in _listed(config)]
    for name, token_id in {} if listed else added.items():
        if type(token_id) is not int:
            raise ValueError(f"{ADDED} has {token_id!r} for {name!r}, not an integer")
        listed.append((token_id, named.get(name) or AddedToken(name, normalized=True)))
    return config, sorted(listed, key=lambda item: item[0]), named


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one if there is no such file."""
    return hub.read_json(path) if path.is_file() else {}


def _content(token: Any) -> str:
    return token["content"] if isinstance(token, dict) else token


def _named(config: Mapping[str, Any]) -> Iterator[tuple[str, AddedToken]]:
    """Yield the tokens that have a role, in the order in which transformers adds them."""
    found = [config.get(role) for role in ROLES]
    for key in LISTS:
        more = config.get(key) or []
        found += [*more.values()] if isinstance(more, dict) else more
    for token in found:
        if token is not None:
            name = _content(token)
            if not isinstance(name, str) or not name:
                raise ValueError(f"its special token {token!r} has no name")
            flags = token if isinstance(token, dict) else {}
            yield name, dataclasses.replace(added_token(name, flags), special=True)


def _listed(config: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for key, flags in (config.get(DECODER) or {}).items():
        if not key.isdecimal():
            raise ValueError(f"{CONFIG} has the token id {key!r}, not an integer")
        yield int(key), flags
