"""Kinds of models as others write them: one module each, found by the ``model_type`` of a config.

An `Architecture` knows what the fields of a config and the arrays of a file are called there and
here, and how the file lays them. A new one is a module, and a name in `ARCHITECTURES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from npgpt.hub.architectures.architecture import (
    Architecture,
    export_arrays,
    match_weights,
    with_head_of_file,
)
from npgpt.hub.architectures.bert import BERT
from npgpt.hub.architectures.gpt2 import GPT2
from npgpt.hub.architectures.marian import Marian

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "architecture_of",
    "export_arrays",
    "match_weights",
    "with_head_of_file",
]

ARCHITECTURES: list[Architecture] = [GPT2(), BERT(), Marian()]  # asked in this order


def architecture_of(content: Mapping[str, Any], where: str) -> Architecture:
    """Return the architecture that a config is of.

    Parameters
    ----------
    content : mapping
        The JSON object.
    where : str
        The file, for errors.

    Raises
    ------
    ValueError
        If it is none that is known here.
    """
    model_type = content.get("model_type", GPT2.model_type)  # nanoGPT and OpenAI do not say it
    for architecture in ARCHITECTURES:
        if architecture.model_type == model_type:
            return architecture
    known = ", ".join(f"{known.name} ({known.model_type!r})" for known in ARCHITECTURES)
    raise ValueError(f"{where} describes a {model_type!r} model; npgpt loads {known}.")
