"""What each part of a model wrote into a logit."""

from __future__ import annotations

from contextlib import ExitStack
from fnmatch import fnmatchcase
from functools import singledispatch
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from npgpt.gradients.attributed import LogitParts, index_in, one_sequence, token_of
from npgpt.gradients.record import record
from npgpt.gradients.untouched import untouched
from npgpt.layers import (
    Layer,
    LayerNorm,
    Linear,
    MultiHeadAttention,
    NoNorm,
    OutputHead,
    RMSNorm,
    TransformerBlock,
)
from npgpt.layers.core.layer import does_as
from npgpt.layers.dropout import is_plain
from npgpt.models import GPT, ConvolutionalLM
from npgpt.models.next_token import NextTokenModel


def writes_to_a_sum(model: NextTokenModel) -> bool:
    """Tell whether a logit can be split into what the parts of the model wrote.

    The residual stream must be a sum, and the final norm and the head must be ones of which it is
    known what they do to a part of it.
    """
    return not why_no_sum(model)


def why_no_sum(model: NextTokenModel) -> str:
    """Say why a logit cannot be split; nothing if it can."""
    if isinstance(model, GPT):
        why = _why_no_sum_of_blocks(model)
    elif isinstance(model, ConvolutionalLM):
        why = ""
    else:
        return (
            "the residual stream must be a sum of what the parts write, and a "
            f"{type(model).__name__} has none: each of its layers makes its states anew."
        )
    if not why and (not does_as(model.head, OutputHead) or model.head.bias is not None):
        return (
            "the head must be an OutputHead without a bias, and this model's is a "
            f"{type(model.head).__name__}."
        )
    return why


def _why_no_sum_of_blocks(model: GPT) -> str:
    if not (model.config.shortcut and model.config.norm_position == "pre"):
        return (
            "the residual stream must be a sum of what the parts write, which needs shortcut=True "
            f"and norm_position='pre'; this model has shortcut={model.config.shortcut} and "
            f"norm_position={model.config.norm_position!r}."
        )
    for block in model.blocks:
        if not isinstance(block, TransformerBlock) or block.is_foreign:
            return (
                f"the blocks must be TransformerBlocks, and {block.name} is a "
                f"{type(block).__name__}."
            )
    norm = type(model.final_norm)
    rules = [kind for kind in norm.__mro__ if kind in linear_part.registry and kind is not object]
    if not rules or vars(rules[0]).get("forward", norm.forward) is not norm.forward:
        return (
            f"nothing says what the final norm, a {norm.__name__}, does to a part of its input; a "
            "function (norm, parts, index) registered with "
            f"npgpt.gradients.attribution.linear_part.register({norm.__name__}) would."
        )
    return ""


def direct_logit_attribution(
    model: NextTokenModel,
    token_ids: ArrayLike,
    position: int = -1,
    token: int | None = None,
) -> LogitParts:
    """Split a logit into what the embeddings, every head and every feed-forward layer wrote.

    The residual stream is a sum, and with the final norm's mean and standard deviation held at
    their values the rest of the way is linear, so the logit is a sum too (Elhage et al. 2021, "A
    Mathematical Framework for Transformer Circuits"). The stream of a `ConvolutionalLM` is a sum of
    what the embeddings and its layers wrote, with no norm behind it.

    Parameters
    ----------
    model, token_ids, position, token
        As for `gradient_times_input`.

    Returns
    -------
    LogitParts
        ``print`` shows the parts, the largest first.

    Raises
    ------
    ValueError
        If the model has no residual stream that is a sum: a recurrent one, one without shortcuts,
        or with norms after them; or if it ends with a norm that `linear_part` has no rule for.

    Notes
    -----
    A layer of yours in the place of attention or of a feed-forward layer is one part; what it wrote
    is the difference of the stream behind it and before it.
    """
    why = why_no_sum(model)
    if why:
        raise ValueError(f"direct_logit_attribution: {why}")
    ids = one_sequence(token_ids)
    position = index_in("position", position, ids.shape[1])
    with ExitStack() as stack:
        stack.enter_context(untouched(model, training=False, frozen=True))
        tapes = [stack.enter_context(record(model, names)) for names in _ends_of(model)]
        logits = model.forward(ids)
        token = token_of(logits[0, position], token)
    recorded = {name: kept.value for tape in tapes for name, kept in tape.items()}
    row = model.head.weight.value[token]
    if isinstance(model, ConvolutionalLM):
        names, writes = _written_by_convolutions(model, recorded, position)
        return LogitParts(names, np.stack(writes) @ row, float(logits[0, position, token]))
    assert isinstance(model, GPT)  # of the others there is no sum
    names, writes = _written_by_blocks(model, recorded, position)
    values = linear_part(model.final_norm, np.stack(writes), (0, position)) @ row
    beta = getattr(model.final_norm, "beta", None)
    if beta is not None:
        names.append("final_norm.beta")
        values = np.append(values, beta.value @ row)
    return LogitParts(names, values, float(logits[0, position, token]))


Written = tuple[list[str], list[np.ndarray]]  # names of the parts, and what each wrote, (d_model,)


def _written_by_convolutions(model: ConvolutionalLM, recorded: Any, position: int) -> Written:
    stream = [recorded["embeddings"][0, position]]
    stream += [
        recorded[f"residual_l{layer}"][0, position] for layer in range(len(model.convolutions))
    ]
    names = ["embeddings", *(convolution.name for convolution in model.convolutions)]
    return names, [stream[0], *(after - before for before, after in pairwise(stream))]


def _written_by_blocks(model: GPT, recorded: Any, position: int) -> Written:
    stream = recorded["embeddings"][0, position]
    names, writes = ["embeddings"], [stream]
    for block in model.blocks:
        middle = recorded[f"{block.name}.residual_middle"][0, position]
        end = recorded[f"{block.name}.residual"][0, position]
        attention = block.attention
        if (
            isinstance(attention, MultiHeadAttention)
            and does_as(attention.projection, Linear)
            and is_plain(block.attention_dropout)
        ):
            name, projection = attention.name, attention.projection
            heads = recorded[f"{name}.context"][0, :, position]  # (heads, head_size)
            columns = np.split(projection.weight.value, len(heads), axis=1)
            names += [f"{name}.head.{h}" for h in range(len(heads))]
            writes += [weight @ head for weight, head in zip(columns, heads, strict=True)]
            if projection.bias is not None:
                names.append(f"{name}.bias")
                writes.append(projection.bias.value)
        else:
            names.append(f"{block.name}.attention")
            writes.append(middle - stream)
        names.append(f"{block.name}.feed_forward")
        output = recorded.get(f"{block.name}.feed_forward.output")
        if output is not None and is_plain(block.feed_forward_dropout):
            writes.append(output[0, position])
        else:
            writes.append(end - middle)
        stream = end
    return names, writes


@singledispatch
def linear_part(norm: Layer, parts: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
    """Apply a norm's last forward pass, at one position, to parts of its input.

    With mean and standard deviation held at their values a norm is linear up to ``beta``, so the
    results of parts that sum to the input sum to ``y - beta``. A norm of yours says what it does by
    a function of its own, ``linear_part.register(ScaleNorm)``.

    Parameters
    ----------
    norm : Layer
    parts : ndarray, shape (..., d_model)
    index : tuple of int
        The position.

    Raises
    ------
    TypeError
        If there is no rule for the norm.
    """
    raise TypeError(f"linear_part has no rule for a {type(norm).__name__}.")


@linear_part.register
def _of_no_norm(norm: NoNorm, parts: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
    return parts


@linear_part.register
def _of_layer_norm(norm: LayerNorm, parts: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
    centred = parts - parts.mean(axis=-1, keepdims=True)
    return centred * norm.gamma.value * norm.recall().rstd[index]


@linear_part.register
def _of_rms_norm(norm: RMSNorm, parts: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
    return parts * norm.gamma.value * norm.recall().rstd[index]


def _ends_of(model: NextTokenModel) -> list[str]:
    """List patterns of the taps that hold the stream, and what is written to it."""
    last = ("embeddings", "residual_l*", "*.residual_middle", "*.residual", "*.attention.context")
    names = list(model.tap_names())
    patterns = (*last, "*.feed_forward.output")
    return [p for p in patterns if any(fnmatchcase(name, p) for name in names)]
