"""Language models of equally many parameters, trained for equally long on one text."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from npgpt import ops
from npgpt.data import DataLoader, HeldOutBatches, TokenWindows
from npgpt.evaluation.loss import evaluate
from npgpt.experiments.sizes import FAMILIES, check_families, configs_of_equal_size
from npgpt.models import Model
from npgpt.models.model import family_of
from npgpt.optim.schedules import Constant, Warmup
from npgpt.runs import OptimisationConfig, RunConfig
from npgpt.runs.run import make_optimizer
from npgpt.runs.source import open_source
from npgpt.training import train_step

EVALUATIONS = 16  # of each model, at equal times
WARMUP = 50  # steps


@dataclasses.dataclass(frozen=True)
class LanguageModelResult:
    """How one model learned.

    Attributes
    ----------
    model : str
        The family.
    n_layers, d_model : int
    parameters : int
    tokens_per_second : float
        Of training, evaluations left out.
    steps : list of int
        Optimiser steps done at each evaluation, the first before any.
    seconds : list of float
        Spent in them.
    losses : list of float
        On held-out text, in nats a token.
    """

    model: str
    n_layers: int
    d_model: int
    parameters: int
    tokens_per_second: float
    steps: list[int]
    seconds: list[float]
    losses: list[float]

    def loss_at(self, step: int) -> float:
        """Return the held-out loss after a number of steps.

        Parameters
        ----------
        step : int
            Between two evaluations the loss is taken from the straight line that joins them.
        """
        return float(np.interp(step, self.steps, self.losses))


def fewest_steps(results: Sequence[LanguageModelResult]) -> int:
    """Return how many steps all models have done: those of the slowest."""
    return min(result.steps[-1] for result in results)


def compare_language_models(
    training: RunConfig,
    kinds: Sequence[str] = FAMILIES,
    parameters: int = 250_000,
    seconds: float = 60.0,
    evaluations: int = EVALUATIONS,
    on_time: Callable[[str, float], None] = lambda kind, spent: None,
    on_result: Callable[[LanguageModelResult], None] = lambda result: None,
) -> list[LanguageModelResult]:
    """Train a model of each family for equally long, and follow its loss on held-out text.

    All have nearly equally many parameters, see `configs_of_equal_size`, and get the same batches
    in the same order. The learning rate rises over the first `WARMUP` steps and stays, so that each
    beginning of a run is the run that had less time. Time counts while a model trains: not for
    evaluations, nor while kernels are compiled, which a step of a model that is thrown away does.

    Parameters
    ----------
    training : RunConfig
        What ``npgpt train`` would be told; its family, width and number of layers, steps and
        schedule do not count.
    kinds : sequence of str
        Families of models.
    parameters : int
        Of each model, about.
    seconds : float
        Training time of each model.
    evaluations : int
        Of each model, evenly spread over its time.
    on_time : function
        Called with (kind, seconds spent) after each step.
    on_result : function
        Called with each result as soon as it is there.

    Returns
    -------
    list of LanguageModelResult

    Raises
    ------
    ValueError
        If a kind is unknown, a number below 1 or not positive, or the text too short.

    Notes
    -----
    Numbers of steps depend on the machine, and so do all losses but those at equal steps.
    """
    check_families(kinds, "compare_language_models")
    if not 0.0 < seconds < math.inf or evaluations < 1:
        raise ValueError(
            "compare_language_models: seconds must be positive and evaluations at least 1, got "
            f"{seconds} and {evaluations}."
        )
    time, optimisation = training.context_length, training.optimisation
    source = open_source(training.data)
    tokenizer = source.tokenizer(training.data)
    train_ids, held_out_ids = source.ids(tokenizer)
    windows = TokenWindows(train_ids, time, training.stride)
    held_out = HeldOutBatches(
        TokenWindows(held_out_ids, time), optimisation.batch_size, optimisation.eval_batches
    )
    configs = configs_of_equal_size(
        kinds, parameters, vocab_size=tokenizer.vocab_size, context_length=time
    )
    results = []
    for kind, config in configs.items():
        _Run(kind, config, optimisation, windows, held_out).train(1e-9, 1, lambda *_: None)
        run = _Run(kind, config, optimisation, windows, held_out)
        results.append(run.train(seconds, evaluations, on_time))
        on_result(results[-1])
    return results


class _Run:
    """One model, its batches, and how far it has come."""

    def __init__(
        self,
        kind: str,
        config: Any,
        optimisation: OptimisationConfig,
        windows: TokenWindows,
        held_out: HeldOutBatches,
    ):
        self._kind, self._config, self._held_out = kind, config, held_out
        self.model: Model = family_of(type(config))(config, seed=optimisation.seed)
        self._optimizer = make_optimizer(self.model.parameters(), optimisation)
        self._clip_norm = optimisation.clip_norm
        self._schedule = Warmup(optimisation.lr, WARMUP, Constant(optimisation.lr))
        loader = DataLoader(windows, optimisation.batch_size, shuffle=True, seed=optimisation.seed)
        self._batches = loader.forever()
        self._step, self._tokens, self._seconds = 0, 0, 0.0

    def train(
        self, seconds: float, evaluations: int, on_time: Callable[[str, float], None]
    ) -> LanguageModelResult:
        """Train for so many seconds."""
        with ops.Workspace():
            points = [self._evaluated()]
            for evaluation in range(1, evaluations + 1):
                while self._seconds < seconds * evaluation / evaluations:
                    self._train_step()
                    on_time(self._kind, min(self._seconds, seconds))
                points.append(self._evaluated())
        steps, spent, losses = (list(column) for column in zip(*points, strict=True))
        return LanguageModelResult(
            self._kind,
            self._config.n_layers,
            self._config.d_model,
            self.model.num_parameters(),
            self._tokens / self._seconds,
            steps,
            spent,
            losses,
        )

    def _train_step(self) -> None:
        began = perf_counter()
        batch = next(self._batches)
        self._optimizer.lr = self._schedule(self._step)
        train_step(self.model.train(), self._optimizer, [batch], self._clip_norm)
        self._step += 1
        self._tokens += self.model.num_tokens(*batch)
        self._seconds += perf_counter() - began

    def _evaluated(self) -> tuple[int, float, float]:
        return self._step, self._seconds, evaluate(self.model, self._held_out).loss
