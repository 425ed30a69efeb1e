"""Names that earlier versions had for GPT-2 alone, in terms of its `Architecture`."""

from __future__ import annotations

from typing import Any, NamedTuple

from npgpt.hub.architectures.architecture import Fields, match_weights
from npgpt.hub.architectures.gpt2 import ACTIVATIONS, FIELDS, GPT2, NAMES, Name
from npgpt.hub.weights import Layout, Shapes

__all__ = [
    "ACTIVATIONS",
    "GPT2_FIELDS",
    "NAMES",
    "Name",
    "Source",
    "config_fields",
    "config_json",
    "match_names",
]

config_fields = GPT2().fields

# the fields of ours that a GPT-2 may choose; the others have one value in every GPT-2
GPT2_FIELDS = tuple(config_fields({names[0]: 1 for _, names in FIELDS}, ""))


class Source(NamedTuple):
    """Where one of our parameters is found, and whether it lies there the other way round."""

    name: str
    transposed: bool


def match_names(fields: Fields, shapes: Shapes, where: str) -> dict[str, Source]:
    """Find every parameter of a GPT-2 among the arrays of a file; see `match_weights`."""
    matched = match_weights(GPT2(), fields, shapes, where)
    return {
        ours: Source(weight.theirs[0], weight.layout is not Layout.AS_OURS)
        for ours, weight in matched.items()
    }


def config_json(fields: Fields, end_of_text_id: int | None, dtype: str) -> dict[str, Any]:
    """Write the fields of a `npgpt.GPTConfig` as transformers' ``GPT2Config`` reads them."""
    ends = {"bos_token_id": end_of_text_id, "eos_token_id": end_of_text_id}
    return {**GPT2().content(fields), **ends, "dtype": dtype}
