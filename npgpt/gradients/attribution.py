"""Which part of the input, or of the model, a logit comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np

from npgpt.gradients.record import record
from npgpt.gradients.untouched import untouched
from npgpt.html_table import html_table
from npgpt.layers import LayerNorm, NoNorm, RMSNorm
from npgpt.models import GPT
from npgpt.text_table import text_table

BATCH_BYTES = 1 << 28  # of logits that integrated gradients makes at a time


@dataclasses.dataclass(frozen=True)
class TokenAttribution:
    """How much each input token contributes to one logit.

    Attributes
    ----------
    values : ndarray, shape (time,)
    logit : float
        The logit that is explained.
    baseline_logit : float or None
        The logit at the baseline, where there is one; ``values`` then sum to the difference.
    """

    values: np.ndarray
    logit: float
    baseline_logit: float | None = None

    @property
    def gap(self) -> float:
        """How far the sum is from the difference of logits: the error of the integral."""
        if self.baseline_logit is None:
            raise ValueError("TokenAttribution: without a baseline there is no sum to compare.")
        return float(self.values.sum() - (self.logit - self.baseline_logit))

    def _repr_html_(self) -> str:
        title = f"Attribution of a logit of {self.logit:+.4f} to tokens"
        if self.baseline_logit is not None:
            title += f", from {self.baseline_logit:+.4f} at the baseline"
        rows = [(position, f"{value:+.4f}") for position, value in enumerate(self.values)]
        total = ("sum", f"{self.values.sum():+.4f}")
        return html_table(title, ("position", "value"), rows, footer=total, numbers=[0, 1])


@dataclasses.dataclass(frozen=True)
class LogitParts:
    """A logit as a sum of what each part of the model writes to the residual stream.

    Attributes
    ----------
    names : list of str
        ``embeddings``; ``blocks.N.attention.head.M`` and ``blocks.N.attention.bias``;
        ``blocks.N.feed_forward``; ``final_norm.beta``.
    values : ndarray, shape (len(names),)
    logit : float
        Their sum, to rounding.
    """

    names: list[str]
    values: np.ndarray
    logit: float

    def sorted(self) -> list[tuple[str, float]]:
        """List the parts with their values, the largest magnitude first."""
        order = np.argsort(-np.abs(self.values), kind="stable")
        return [(self.names[i], float(self.values[i])) for i in order]

    def _repr_html_(self) -> str:
        rows = [(name, f"{value:+.4f}") for name, value in self.sorted()]
        total = ("logit", f"{self.logit:+.4f}")
        return html_table("Parts of a logit", ("part", "value"), rows, footer=total, numbers=[1])

    def __str__(self) -> str:
        rows = [*self.sorted(), ("logit", self.logit)]
        return text_table((), [(name, f"{value:+.4f}") for name, value in rows])


def gradient_times_input(
    model: GPT, token_ids, position: int = -1, token: int | None = None
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
    token_ids,
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
    """Tell whether the residual stream is a sum, so that a logit can be split into its parts."""
    return model.config.shortcut and model.config.norm_position == "pre"


def direct_logit_attribution(
    model: GPT, token_ids, position: int = -1, token: int | None = None
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
        them.
    """
    if not writes_to_a_sum(model):
        raise ValueError(
            "direct_logit_attribution: the residual stream must be a sum of what the parts write, "
            f"which needs shortcut=True and norm_position='pre'; this model has shortcut="
            f"{model.config.shortcut} and norm_position={model.config.norm_position!r}."
        )
    ids = _one_sequence(token_ids)
    position = _index("position", position, ids.shape[1])
    with (
        untouched(model, training=False, frozen=True),
        record(model, "embeddings") as embeddings,
        record(model, "*.attention.context") as contexts,
        record(model, "*.feed_forward.output") as outputs,
    ):
        logits = model.forward(ids)
        token = _token(logits[0, position], token)
    names, writes = ["embeddings"], [embeddings["embeddings"].value[0, position]]
    for block in model.blocks:
        name, projection = block.attention.name, block.attention.projection
        heads = contexts[f"{name}.context"].value[0, :, position]  # (heads, head_size)
        columns = np.split(projection.weight.value, len(heads), axis=1)
        names += [f"{name}.head.{h}" for h in range(len(heads))]
        writes += [weight @ head for weight, head in zip(columns, heads, strict=True)]
        if projection.bias is not None:
            names.append(f"{name}.bias")
            writes.append(projection.bias.value)
        names.append(block.feed_forward.name)
        writes.append(outputs[f"{block.feed_forward.name}.output"].value[0, position])
    row = model.head.weight.value[token]
    values = linear_part(model.final_norm, np.stack(writes), (0, position)) @ row
    beta = getattr(model.final_norm, "beta", None)
    if beta is not None:
        names.append("final_norm.beta")
        values = np.append(values, beta.value @ row)
    return LogitParts(names, values, float(logits[0, position, token]))


def linear_part(norm: LayerNorm | RMSNorm | NoNorm, parts: np.ndarray, index) -> np.ndarray:
    """Apply a norm's last forward pass, at one position, to parts of its input, (..., d_model).

    With mean and standard deviation held at their values a norm is linear up to ``beta``, so the
    results of parts that sum to the input sum to ``y - beta``.
    """
    if isinstance(norm, NoNorm):
        return parts
    rstd = norm.recall()[-1]
    if isinstance(norm, LayerNorm):
        parts = parts - parts.mean(axis=-1, keepdims=True)
    return parts * norm.gamma.value * rstd[index]


def _instead(points: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    return points


def _mean_embeddings(model, time):
    # (time, d_model): the mean of all tokens', at each position
    tokens = np.repeat(model.token_embedding.weight.value.mean(axis=0)[None], time, axis=0)
    if model.position_embedding is None:
        return tokens
    return tokens + model.position_embedding.rows_for(tokens.shape, model.dtype)


def _backward_from_logit(model, shape, position, token):
    dlogits = np.zeros(shape, model.dtype)
    dlogits[:, position, token] = 1.0
    model.backward_from_logits(dlogits)


def _one_sequence(token_ids) -> np.ndarray:
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
