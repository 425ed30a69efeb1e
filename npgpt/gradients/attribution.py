"""Which part of the input, or of the model, a logit comes from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from fnmatch import fnmatchcase
from functools import partial, singledispatch

import numpy as np
from numpy.typing import ArrayLike

from npgpt.gradients.attributed import LogitParts, TokenAttribution
from npgpt.gradients.record import record
from npgpt.gradients.untouched import untouched
from npgpt.layers import (
    Embedding,
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
from npgpt.models import GPT

BATCH_BYTES = 1 << 28  # of logits that integrated gradients makes at a time


def gradient_times_input(
    model: GPT, token_ids: ArrayLike, position: int = -1, token: int | None = None
) -> TokenAttribution:
    """Attribute a logit to tokens by ``sum of embedding * d logit / d embedding``.

    Parameters
    ----------
    model : GPT
        Run in evaluation mode; its gradients are left as they are.
    token_ids : ndarray of int, shape (time,)
    position : int
        Where the prediction is made; negative counts from the end.
    token : int, optional
        Whose logit; the likeliest one's by default.

    Returns
    -------
    TokenAttribution

    Notes
    -----
    First order only (Simonyan, Vedaldi and Zisserman 2014, arXiv 1312.6034, section 3): what a
    large change of the embedding would do may differ; `integrated_gradients` follows it.
    """
    ids = _one_sequence(token_ids)
    position = _index("position", position, ids.shape[1])
    with untouched(model, training=False, frozen=True), record(model, "embeddings") as tape:
        logits = model.forward(ids)
        token = _token(logits[0, position], token)
        _backward_from_logit(model, logits.shape, position, token)
        embeddings = tape["embeddings"]
    values = np.sum(embeddings.value * embeddings.grad, axis=-1)[0]
    return TokenAttribution(values, float(logits[0, position, token]))


def integrated_gradients(
    model: GPT,
    token_ids: ArrayLike,
    position: int = -1,
    token: int | None = None,
    steps: int = 64,
    baseline: np.ndarray | None = None,
    on_points: Callable[[int, int], None] | None = None,
) -> TokenAttribution:
    """Attribute a logit to tokens by the gradients on the way from a baseline to the embeddings.

    ``values = sum over features of (x - x0) * integral of d logit / dx (x0 + a (x - x0)) da``, a
    from 0 to 1 (Sundararajan, Taly and Yan 2017, arXiv 1703.01365, eq. 1). The values sum to the
    difference of the logits (completeness), up to the error of the integral,
    `TokenAttribution.gap`.

    Parameters
    ----------
    model, token_ids, position, token
        As for `gradient_times_input`.
    steps : int
        Points of the Gauss-Legendre rule. Several are one batch, as many as `BATCH_BYTES` of
        logits hold.
    baseline : ndarray, shape (time, d_model), optional
        Embeddings to start from; by default the mean of all tokens' at every position. Zeros are a
        poor choice where layer norms have no biases: the model hardly depends on the length of its
        embeddings then, jumps at 0, and the integral misses the jump.
    on_points : function, optional
        Called with (points done, points in all) after each batch.

    Returns
    -------
    TokenAttribution
    """
    if steps < 1:
        raise ValueError(f"integrated_gradients: steps must be at least 1, got {steps}.")
    ids = _one_sequence(token_ids)
    time = ids.shape[1]
    position = _index("position", position, time)
    if baseline is None:
        baseline = _mean_embeddings(model, time)
    start = np.asarray(baseline)
    if start.shape != (time, model.config.d_model):
        raise ValueError(
            f"integrated_gradients: baseline must have shape {(time, model.config.d_model)}, "
            f"got {start.shape}."
        )
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    places = np.concatenate([0.5 * (nodes + 1.0), [0.0, 1.0]])[:, None, None]  # and both ends
    size = max(1, BATCH_BYTES // (time * model.config.vocab_size * model.dtype.itemsize))
    grads, logits = [], []
    with untouched(model, training=False, frozen=True):
        with record(model, "embeddings") as tape:
            token = _token(model.forward(ids)[0, position], token)
            change = tape["embeddings"].value[0] - start
        for first in range(0, len(places), size):
            points = start + places[first : first + size] * change
            with (
                model.edit("embeddings", forward=partial(_instead, points)),
                record(model, "embeddings") as tape,
            ):
                batch = model.forward(np.repeat(ids, len(points), axis=0))
                _backward_from_logit(model, batch.shape, position, token)
            logits += list(batch[:, position, token])
            grads.append(tape["embeddings"].grad)
            if on_points:
                on_points(len(logits), len(places))
    mean = np.einsum("s,std->td", 0.5 * weights, np.concatenate(grads)[:steps])
    begin, end = (float(logit) for logit in logits[-2:])
    return TokenAttribution(np.sum(change * mean, axis=-1), end, begin)


def writes_to_a_sum(model: GPT) -> bool:
    """Tell whether a logit can be split into what the parts of the model wrote.

    The residual stream must be a sum, and the final norm and the head must be ones of which it is
    known what they do to a part of it.
    """
    return not _why_no_sum(model)


def _why_no_sum(model: GPT) -> str:
    """Say why a logit cannot be split; nothing if it can."""
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
    if not does_as(model.head, OutputHead) or model.head.bias is not None:
        return (
            "the head must be an OutputHead without a bias, and this model's is a "
            f"{type(model.head).__name__}."
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
    model: GPT, token_ids: ArrayLike, position: int = -1, token: int | None = None
) -> LogitParts:
    """Split a logit into what the embeddings, every head and every feed-forward layer wrote.

    The residual stream is a sum, and with the final norm's mean and standard deviation held at
    their values the rest of the way is linear, so the logit is a sum too (Elhage et al. 2021, "A
    Mathematical Framework for Transformer Circuits").

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
        If the model has no residual stream that is a sum: without shortcuts, or with norms after
        them; or if it ends with a norm that `linear_part` has no rule for.

    Notes
    -----
    A layer of yours in the place of attention or of a feed-forward layer is one part; what it wrote
    is the difference of the stream behind it and before it.
    """
    why = _why_no_sum(model)
    if why:
        raise ValueError(f"direct_logit_attribution: {why}")
    ids = _one_sequence(token_ids)
    position = _index("position", position, ids.shape[1])
    with ExitStack() as stack:
        stack.enter_context(untouched(model, training=False, frozen=True))
        tapes = [stack.enter_context(record(model, names)) for names in _ends_of(model)]
        logits = model.forward(ids)
        token = _token(logits[0, position], token)
    recorded = {name: kept.value for tape in tapes for name, kept in tape.items()}
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
    row = model.head.weight.value[token]
    values = linear_part(model.final_norm, np.stack(writes), (0, position)) @ row
    beta = getattr(model.final_norm, "beta", None)
    if beta is not None:
        names.append("final_norm.beta")
        values = np.append(values, beta.value @ row)
    return LogitParts(names, values, float(logits[0, position, token]))


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


def _ends_of(model: GPT) -> list[str]:
    """List patterns of the taps that hold the stream, and what is written to it."""
    last = ("embeddings", "*.residual_middle", "*.residual", "*.attention.context")
    names = list(model.tap_names())
    patterns = (*last, "*.feed_forward.output")
    return [p for p in patterns if any(fnmatchcase(name, p) for name in names)]


def _instead(points: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    return points


def _mean_embeddings(model: GPT, time: int) -> np.ndarray:
    # (time, d_model): the mean of all tokens', at each position
    embedding = model.token_embedding
    if does_as(embedding, Embedding):
        table = embedding.weight.value
    else:
        table = embedding.forward(np.arange(model.config.vocab_size)[None])[0]
    tokens = np.repeat(table.mean(axis=0)[None], time, axis=0)
    if model.position_embedding is None:
        return tokens
    return model.position_embedding.forward(tokens[None])[0]


def _backward_from_logit(model: GPT, shape: tuple[int, ...], position: int, token: int) -> None:
    dlogits = np.zeros(shape, model.dtype)
    dlogits[:, position, token] = 1.0
    model.backward_from_logits(dlogits)


def _one_sequence(token_ids: ArrayLike) -> np.ndarray:
    ids = np.asarray(token_ids)
    if ids.ndim != 1 or not ids.size:
        raise ValueError(f"attribution: token ids must have shape (time,), got {ids.shape}.")
    return ids[None]


def _index(what: str, index: int, size: int) -> int:
    if not -size <= index < size:
        raise ValueError(f"attribution: {what} {index} is outside 0 to {size - 1}.")
    return index % size


def _token(logits: np.ndarray, token: int | None) -> int:
    return int(np.argmax(logits)) if token is None else _index("token", token, len(logits))
