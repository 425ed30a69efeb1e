"""Which part of the input, or of the model, a logit comes from: by its gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from npgpt.gradients.attributed import TokenAttribution, index_in, one_sequence, token_of
from npgpt.gradients.logit_parts import direct_logit_attribution, linear_part, writes_to_a_sum
from npgpt.gradients.record import record
from npgpt.gradients.untouched import untouched
from npgpt.layers import Embedding
from npgpt.layers.core.layer import does_as
from npgpt.models.next_token import NextTokenModel

__all__ = [
    "direct_logit_attribution",
    "gradient_times_input",
    "integrated_gradients",
    "linear_part",
    "writes_to_a_sum",
]

BATCH_BYTES = 1 << 28  # of logits that integrated gradients makes at a time


def gradient_times_input(
    model: NextTokenModel, token_ids: ArrayLike, position: int = -1, token: int | None = None
) -> TokenAttribution:
    """Attribute a logit to tokens by ``sum of embedding * d logit / d embedding``.

    Parameters
    ----------
    model : NextTokenModel
        Any language model of this package, run in evaluation mode; its gradients are left as they
        are.
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
    ids = one_sequence(token_ids)
    position = index_in("position", position, ids.shape[1])
    with untouched(model, training=False, frozen=True), record(model, "embeddings") as tape:
        logits = model.forward(ids)
        token = token_of(logits[0, position], token)
        _backward_from_logit(model, logits.shape, position, token)
        embeddings = tape["embeddings"]
    values = np.sum(embeddings.value * embeddings.grad, axis=-1)[0]
    return TokenAttribution(values, float(logits[0, position, token]))


def integrated_gradients(
    model: NextTokenModel,
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
    ids = one_sequence(token_ids)
    time = ids.shape[1]
    position = index_in("position", position, time)
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
            token = token_of(model.forward(ids)[0, position], token)
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


def _instead(points: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    return points


def _mean_embeddings(model: NextTokenModel, time: int) -> np.ndarray:
    # (time, d_model): the mean of all tokens', at each position
    embedding: Any = model.token_embedding
    if does_as(embedding, Embedding):
        table = embedding.weight.value
    else:
        table = embedding.forward(np.arange(model.config.vocab_size)[None])[0]
    tokens = np.repeat(table.mean(axis=0)[None], time, axis=0)
    if model.position_embedding is None:
        return tokens
    return model.position_embedding.forward(tokens[None])[0]


def _backward_from_logit(
    model: NextTokenModel, shape: tuple[int, ...], position: int, token: int
) -> None:
    dlogits = np.zeros(shape, model.dtype)
    dlogits[:, position, token] = 1.0
    model.backward_from_logits(dlogits)
