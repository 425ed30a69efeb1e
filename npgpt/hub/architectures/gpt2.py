"""The table between npgpt's parameter names and those of GPT-2 elsewhere."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Name:
    """One line of the table.

    Attributes
    ----------
    ours, hugging_face, openai : str
        ``{}`` stands for the number of the block.
    shape : tuple of str
        Of our array; the words are keys of `sizes`.
    transposed : bool
        Hugging Face's ``Conv1D`` and OpenAI's files keep the matrix as (in, out). nanoGPT, which
        has Hugging Face's names, keeps it as we do, (out, in).
    """

    ours: str
    hugging_face: str
    openai: str
    shape: tuple[str, ...]
    transposed: bool = False


NAMES = (
    Name("token_embedding.weight", "wte.weight", "wte", ("vocab_size", "d_model")),
    Name("position_embedding.weight", "wpe.weight", "wpe", ("context_length", "d_model")),
    Name("blocks.{}.attention_norm.gamma", "h.{}.ln_1.weight", "h{}/ln_1/g", ("d_model",)),
    Name("blocks.{}.attention_norm.beta", "h.{}.ln_1.bias", "h{}/ln_1/b", ("d_model",)),
    Name(
        "blocks.{}.attention.qkv.weight",
        "h.{}.attn.c_attn.weight",
        "h{}/attn/c_attn/w",
        ("3 d_model", "d_model"),
        transposed=True,
    ),
    Name(
        "blocks.{}.attention.qkv.bias",
        "h.{}.attn.c_attn.bias",
        "h{}/attn/c_attn/b",
        ("3 d_model",),
    ),
    Name(
        "blocks.{}.attention.projection.weight",
        "h.{}.attn.c_proj.weight",
        "h{}/attn/c_proj/w",
        ("d_model", "d_model"),
        transposed=True,
    ),
    Name(
        "blocks.{}.attention.projection.bias",
        "h.{}.attn.c_proj.bias",
        "h{}/attn/c_proj/b",
        ("d_model",),
    ),
    Name("blocks.{}.feed_forward_norm.gamma", "h.{}.ln_2.weight", "h{}/ln_2/g", ("d_model",)),
    Name("blocks.{}.feed_forward_norm.beta", "h.{}.ln_2.bias", "h{}/ln_2/b", ("d_model",)),
    Name(
        "blocks.{}.feed_forward.up.weight",
        "h.{}.mlp.c_fc.weight",
        "h{}/mlp/c_fc/w",
        ("d_ff", "d_model"),
        transposed=True,
    ),
    Name("blocks.{}.feed_forward.up.bias", "h.{}.mlp.c_fc.bias", "h{}/mlp/c_fc/b", ("d_ff",)),
    Name(
        "blocks.{}.feed_forward.down.weight",
        "h.{}.mlp.c_proj.weight",
        "h{}/mlp/c_proj/w",
        ("d_model", "d_ff"),
        transposed=True,
    ),
    Name(
        "blocks.{}.feed_forward.down.bias",
        "h.{}.mlp.c_proj.bias",
        "h{}/mlp/c_proj/b",
        ("d_model",),
    ),
    Name("final_norm.gamma", "ln_f.weight", "ln_f/g", ("d_model",)),
    Name("final_norm.beta", "ln_f.bias", "ln_f/b", ("d_model",)),
    Name("head.weight", "lm_head.weight", "lm_head", ("vocab_size", "d_model")),
)
HEAD = "head.weight"

# Prefixes that depend on who saved the file: transformers with a head on the model, torch.compile,
# and the variable scope of OpenAI's checkpoints.
PREFIXES = ("_orig_mod.", "transformer.", "model/")

# The causal mask, which early versions of transformers saved beside the weights.
MASK = re.compile(r"h\.\d+\.attn\.(masked_)?bias")


@dataclasses.dataclass(frozen=True)
class Source:
    """Where one of our parameters is found.

    Attributes
    ----------
    name : str
        In the file.
    transposed : bool
        Whether the file keeps the matrix the other way round.
    """

    name: str
    transposed: bool


def match_names(
    fields: Mapping[str, Any], shapes: Mapping[str, Shape], where: str
) -> dict[str, Source]:
    """Find every parameter of a GPT-2 among the arrays of a file.

    Recognised are the names of Hugging Face (with and without ``transformer.``), nanoGPT (the same
    names, matrices the other way round) and OpenAI's checkpoints. Buffers of the causal mask are
    passed over, and so is the head's matrix if the config ties it to the token embedding.

    Parameters
    ----------
    fields : mapping
        Of the config, as `config_fields` returns them.
    shapes : mapping of str to tuple
        Of the arrays in the file.
    where : str
        The file or folder, for errors.

    Returns
    -------
    dict of str to Source
        By our names.

    Raises
    ------
    ValueError
        If an array is missing or unknown, or its shape does not fit the config.
    """
    found = {_plain(name): name for name in shapes if not MASK.fullmatch(_plain(name))}
    openai = any("/" in name for name in shapes)
    attention = "h0/attn/c_attn/w" if openai else "h.0.attn.c_attn.weight"
    as_ours = attention in found and _is_tall(shapes[found[attention]])

    sources = {}
    for ours, theirs, line in _lines(fields, openai):
        if ours == HEAD and fields["tie_embeddings"]:
            found.pop(theirs, None)  # the same matrix as the token embedding's, or not in use
            continue
        if theirs not in found:
            raise ValueError(f"{where} has no array {theirs}, which the model's config asks for.")
        name = found.pop(theirs)
        transposed = line.transposed and not as_ours
        expected = _size(line.shape, fields)
        expected = expected[::-1] if transposed else expected
        shape = shapes[name]
        # OpenAI's matrices are those of a convolution of width 1
        if (shape[1:] if len(shape) == 3 and shape[0] == 1 else shape) != expected:
            raise ValueError(
                f"{where}: {name} has shape {shape}, but the model's config asks for {expected}."
            )
        sources[ours] = Source(name, transposed)
    if found:
        unknown = ", ".join(sorted(found.values())[:3]) + (", ..." if len(found) > 3 else "")
        raise ValueError(
            f"{where} has {len(found)} arrays that the model of its config does not have: "
            f"{unknown}."
        )
    return sources


def export_arrays(
    fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield arrays under the names and in the layout of transformers' ``GPT2LMHeadModel``.

    Parameters
    ----------
    fields : mapping
        Of the config.
    arrays : mapping of str to ndarray
        By our names. Biases that the model does without are written as zeros, because that class
        always has them.

    Yields
    ------
    name : str
    ndarray
        A view where the layout allows it.
    """
    dtype = arrays["token_embedding.weight"].dtype
    for ours, theirs, line in _lines({**fields, "bias": True}, openai=False):
        if ours == HEAD and fields["tie_embeddings"]:
            continue
        array = arrays.get(ours)
        if array is None:
            array = np.zeros(_size(line.shape, fields), dtype)
        prefix = "" if ours == HEAD else "transformer."
        yield prefix + theirs, array.T if line.transposed else array


def block_count(names: Iterable[str]) -> int:
    """Count the blocks that array names speak of."""
    numbers = (re.match(r"h\.?(\d+)[./]", _plain(name)) for name in names)
    return max((int(number[1]) + 1 for number in numbers if number), default=0)


def _lines(fields: Mapping[str, Any], openai: bool) -> Iterator[tuple[str, str, Name]]:
    """Yield (our name, their name, line of the table) for a model of these fields."""
    for line in NAMES:
        if not fields["bias"] and line.ours.endswith((".bias", ".beta")):
            continue
        theirs = line.openai if openai else line.hugging_face
        for i in range(fields["n_layers"] if "{}" in theirs else 1):
            yield line.ours.format(i), theirs.format(i), line


def _size(words: tuple[str, ...], fields: Mapping[str, Any]) -> Shape:
    d_model = fields["d_model"]
    sizes = {**fields, "3 d_model": 3 * d_model, "d_ff": fields.get("d_ff") or 4 * d_model}
    return tuple(sizes[word] for word in words)


def _plain(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _is_tall(shape: Shape) -> bool:
    return len(shape) == 2 and shape[0] > shape[1]
