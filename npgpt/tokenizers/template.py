"""What a model's maker puts around a prompt: the post-processors of ``tokenizer.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from npgpt.tokenizers.unsupported import Unsupported

Template = tuple[int | None, ...]  # ids, and None where the text's own stand
WHOLE: Template = (None,)  # the text as it is


def fill(template: Template, ids: np.ndarray) -> np.ndarray:
    """Put the ids of a text in their places of a template."""
    if template == WHOLE:
        return ids
    parts = [ids if part is None else np.array([part], np.int64) for part in template]
    return np.concatenate(parts) if parts else ids[:0]


def from_processor(part: Any) -> Template:
    """Read a post-processor.

    ``TemplateProcessing`` names tokens to be put around one text, as a beginning of it;
    ``ByteLevel`` only moves offsets, which are not kept here; a ``Sequence`` is one after the
    other.

    Raises
    ------
    Unsupported
        If it is of another kind.
    ValueError
        If it is none.
    """
    if part is None:
        return WHOLE
    kind = part["type"]
    if kind == "ByteLevel":
        return WHOLE
    if kind == "Sequence":
        template = WHOLE
        for member in part["processors"]:
            template = _around(from_processor(member), template)
        return template
    if kind != "TemplateProcessing":
        raise Unsupported(
            f"its post_processor is {kind!r}, not 'TemplateProcessing' or 'ByteLevel'"
        )
    template = ()
    for piece in part["single"]:
        if "SpecialToken" in piece:
            template += _ids_of(part["special_tokens"], piece["SpecialToken"]["id"])
        elif piece["Sequence"]["id"] == "A":
            template += WHOLE
        else:
            raise ValueError(f"its post_processor puts {piece!r} around a single text")
    return template


def _ids_of(special_tokens: Mapping[str, Any], name: str) -> tuple[int, ...]:
    if name not in special_tokens:
        raise ValueError(f"its post_processor uses {name!r} and does not say its id")
    ids = special_tokens[name]["ids"]
    if not isinstance(ids, list) or not all(type(i) is int and i >= 0 for i in ids):
        raise ValueError(f"its post_processor has {ids!r} for {name!r}, not a list of ids")
    return tuple(ids)


def _around(outer: Template, inner: Template) -> Template:
    """Apply a template to what another gives."""
    return tuple(i for part in outer for i in (inner if part is None else (part,)))


def to_processor(template: Template, names: Mapping[int, str]) -> dict[str, Any] | None:
    """Write a template as a ``TemplateProcessing``; None for the text as it is."""
    if template == WHOLE:
        return None
    text: dict[str, Any] = {"Sequence": {"id": "A", "type_id": 0}}
    single = [
        text if i is None else {"SpecialToken": {"id": names[i], "type_id": 0}} for i in template
    ]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            names[i]: {"id": names[i], "ids": [i], "tokens": [names[i]]}
            for i in template
            if i is not None
        },
    }


def checked_template(
    template: Sequence[int | None], vocab_size: int, unused: Sequence[int], who: str
) -> Template:
    """Return a template, if its ids are tokens'."""
    ids = [i for i in template if i is not None]
    if outside := [i for i in ids if not 0 <= i < vocab_size or i in unused]:
        raise ValueError(
            f"{who}: the template's id {outside[0]} is outside the vocabulary of {vocab_size}."
        )
    return tuple(template)
