"""How the gradient of a loss shrinks with the distance that it goes back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npgpt.data import HeldOutBatches, TokenWindows
from npgpt.evaluation import evaluate
from npgpt.experiments.sizes import check_families
from npgpt.experiments.training import OnStep, train_on
from npgpt.gradients import record
from npgpt.gradients.untouched import untouched
from npgpt.models import LanguageModel
from npgpt.ops import IGNORE_INDEX
from npgpt.runs import RunConfig
from npgpt.runs.source import open_source

COMPARED = ("rnn", "gru", "lstm", "gpt")


@dataclasses.dataclass(frozen=True)
class DistanceResult:
    """Gradients of one model at one moment.

    Attributes
    ----------
    model : str
        The family.
    parameters : int
    steps : int
        Optimiser steps done: 0 at the start.
    loss : float
        On held-out text, in nats a token.
    norms : list of float
        `gradient_by_distance` at distances 0, 1, ..., the mean over the windows.
    """

    model: str
    parameters: int
    steps: int
    loss: float
    norms: list[float]

    def share(self, distance: int) -> float:
        """Return the norm at a distance over that at distance 0."""
        return self.norms[distance] / self.norms[0]


def gradient_by_distance(model: LanguageModel, token_ids: Any, target: Any) -> np.ndarray:
    """Compute the norm of the last loss's gradient by the embedding at each distance back.

    ``norms[n, k] = || d loss_n / d e_{T - k} ||``, where ``loss_n`` is the cross-entropy of window
    n's prediction after its last position T, and ``e_t`` the embedding that the model's first layer
    reads at position t.

    Parameters
    ----------
    model : LanguageModel
        With embeddings as a tap, as all families have. In float64 nothing underflows.
    token_ids : array of int, shape (windows, time)
    target : array of int, shape (windows,)
        The token after each window.

    Returns
    -------
    ndarray, shape (windows, time)
        At distance 0, the last position, first.

    Examples
    --------
    >>> import npgpt
    >>> config = npgpt.models.LSTMConfig(vocab_size=7, context_length=8, n_layers=1, d_model=4)
    >>> model = npgpt.models.LSTMLM(config, dtype=np.float64)
    >>> norms = gradient_by_distance(model, np.arange(12).reshape(2, 6) % 7, [3, 4])
    >>> norms.shape, bool((norms[:, 5] < norms[:, 0]).all())
    ((2, 6), True)
    """
    token_ids = np.asarray(token_ids)
    targets = np.full(token_ids.shape, IGNORE_INDEX)
    targets[:, -1] = target
    with untouched(model, training=False), record(model, "embeddings") as tape:
        # the loss is the mean over windows, and no window's depends on another's embeddings
        model.loss_and_backward(token_ids, targets, dloss=float(len(token_ids)))
    gradients = tape["embeddings"].grad
    assert gradients is not None
    return np.hypot.reduce(gradients, axis=-1)[:, ::-1]  # squares of 1e-170 would be 0


def compare_gradients(
    training: RunConfig,
    kinds: Sequence[str] = COMPARED,
    distance: int = 200,
    windows: int = 32,
    on_step: OnStep = lambda kind, done, total: None,
    on_result: Callable[[DistanceResult], None] = lambda result: None,
) -> list[DistanceResult]:
    """Measure `gradient_by_distance` for several families, at the start and after training.

    Models are trained in float32 and measured in float64, in which an RNN's gradient of 200 steps
    back, less than 1e-38, is still a number. All see the same batches in the same order.

    Parameters
    ----------
    training : RunConfig
        What ``npgpt train`` would be told, of a family that has no fields of its own or leaves them
        at their defaults; the family is replaced by each kind.
    kinds : sequence of str
        Families of models.
    distance : int
        The largest, below the context length: in the windows, which have that length, so many
        positions stand before the last one.
    windows : int
        Held-out windows to measure in, evenly spread.
    on_step : function
        Called with (kind, done, total) after each optimiser step.
    on_result : function
        Called with each result as soon as it is there.

    Returns
    -------
    list of DistanceResult
        Two of each kind: at the start, and after training.

    Raises
    ------
    ValueError
        If the distance does not fit the context, a kind is unknown, or the text is too short.
    KeyboardInterrupt
        If somebody asks to stop.
    """
    check_families(kinds, "compare_gradients")
    time = training.context_length
    if not 1 <= distance < time:
        raise ValueError(
            "compare_gradients: the distance must be at least 1 and below the context length, "
            f"{time}, got {distance}."
        )
    configs = [config_like(training, kind) for kind in kinds]  # all are checked
    source = open_source(training.data)
    tokenizer = source.tokenizer(training.data)
    train_ids, held_out_ids = source.ids(tokenizer)
    batches = TokenWindows(train_ids, time, training.stride)
    held_out = HeldOutBatches(TokenWindows(held_out_ids, time), windows, max_batches=1)
    results: list[DistanceResult] = []
    for kind, config in zip(kinds, configs, strict=True):
        model = config.family(config.model_config(tokenizer.vocab_size), seed=config.seed)
        for steps in (0, config.steps):
            if steps:
                train_on(model, kind, config, batches, on_step)
            results.append(_measured(kind, model, steps, held_out, distance))
            on_result(results[-1])
    return results


def config_like(training: RunConfig, kind: str) -> RunConfig:
    """Return a config of another family with the same shape, data and optimisation.

    Parameters
    ----------
    training : RunConfig
    kind : str
    """
    shape = {name: getattr(training, name) for name in ("context_length", "n_layers", "d_model")}
    return RunConfig(kind, training.data, training.optimisation, **shape)


def _measured(
    kind: str, model: Any, steps: int, held_out: HeldOutBatches, distance: int
) -> DistanceResult:
    exact = type(model)(model.config, dtype=np.float64)
    exact.load_state_dict(model.state_dict())
    ((token_ids, targets),) = held_out
    norms = gradient_by_distance(exact, token_ids, targets[:, -1])[:, : distance + 1]
    loss = evaluate(model, held_out).loss
    return DistanceResult(kind, model.num_parameters(), steps, loss, norms.mean(axis=0).tolist())
