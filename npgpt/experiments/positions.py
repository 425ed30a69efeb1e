"""Models trained at a short context and evaluated at a longer one, by kind of position."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from npgpt.data import HeldOutBatches, StridedWindows, TokenWindows
from npgpt.experiments.training import OnStep, train_on
from npgpt.models import GPT
from npgpt.ops import reference
from npgpt.runs import RunConfig
from npgpt.runs.source import open_source
from npgpt.training import evaluate

KINDS = ("learned", "sinusoidal", "t5", "alibi", "rope")


@dataclasses.dataclass(frozen=True)
class PositionResult:
    """Losses of one kind of position on held-out text, in nats a token.

    Attributes
    ----------
    position : str
    trained_length : float
        In windows of the context that it was trained at.
    sliding : float
        At the same context, in windows that overlap by half, so that every token is predicted from
        at least half a context.
    longer : float or None
        In windows of the longer context; None where positions end with the trained one.
    by_place : list of float
        Mean loss at each place of a longer window; of a window of the trained length where that is
        the end.
    """

    position: str
    trained_length: float
    sliding: float
    longer: float | None
    by_place: list[float]


def compare_positions(
    training: RunConfig,
    longer: int = 256,
    kinds: Sequence[str] = KINDS,
    on_step: OnStep = lambda kind, done, total: None,
) -> list[PositionResult]:
    """Train a model of each kind at one context, and evaluate it at a longer one.

    All models see the same batches in the same order, from the same seed.

    Parameters
    ----------
    training : RunConfig
        What ``npgpt train`` would be told; its ``position`` is replaced by each kind.
    longer : int
        The context to evaluate at.
    kinds : sequence of str
        Of `npgpt.GPTConfig`'s positions.
    on_step : function
        Called with (kind, done, total) after each optimiser step.

    Returns
    -------
    list of PositionResult

    Raises
    ------
    ValueError
        If the longer context is not longer, or the held-out text is too short for it.
    KeyboardInterrupt
        If somebody asks to stop.
    """
    short = training.context_length
    if longer <= short:
        raise ValueError(
            f"compare_positions: the context to evaluate at must be longer than the {short} that "
            f"the models are trained at, got {longer}."
        )
    configs = [training.changed(position=kind) for kind in kinds]  # all are checked
    source = open_source(training.data)
    tokenizer = source.tokenizer(training.data)
    train_ids, held_out_ids = source.ids(tokenizer)
    windows = TokenWindows(train_ids, short, training.stride)
    held_out = {time: _batches(held_out_ids, time) for time in (short, longer)}
    overlapping = StridedWindows(held_out_ids, short, max(1, short // 2), batch_size=32)
    results = []
    for config in configs:
        model = config.family(config.model_config(tokenizer.vocab_size), seed=config.seed)
        train_on(model, config.position, config, windows, on_step)
        model.eval()
        at_trained = _by_place(model, held_out[short])
        sliding = evaluate(model, overlapping).loss
        bounded = model.config.max_length is not None
        at_longer = None if bounded else _by_place(model, held_out[longer])
        results.append(
            PositionResult(
                config.position,
                float(at_trained.mean()),
                sliding,
                None if at_longer is None else float(at_longer.mean()),
                (at_trained if at_longer is None else at_longer).tolist(),
            )
        )
    return results


def _batches(ids, time: int) -> HeldOutBatches:
    return HeldOutBatches(TokenWindows(ids, time), max(1, 4096 // time))


def _by_place(model: GPT, batches: HeldOutBatches) -> np.ndarray:
    """Mean loss at each place of a window, (time,)."""
    total, count = 0.0, 0
    for inputs, targets in batches:
        logits = model.forward(inputs).astype(np.float64)
        of_target = np.take_along_axis(logits, targets[..., None], axis=-1)
        nats = (reference.log_sum_exp(logits) - of_target)[..., 0]  # (batch, time)
        total, count = total + nats.sum(axis=0), count + len(inputs)
    return np.asarray(total) / count
