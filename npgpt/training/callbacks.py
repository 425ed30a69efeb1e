"""What can watch a training run."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from npgpt.training.trainer import Trainer


@dataclasses.dataclass(frozen=True)
class StepMetrics:
    """One optimiser step.

    Attributes
    ----------
    step : int
        Steps done, this one included.
    loss : float
        Mean loss of the step's batches; of a language model, in nats a token.
    lr : float
    grad_norm : float
        Global norm of the gradient before clipping.
    tokens : int
        Tokens that the model read in the step, what fills rows up left out.
    seconds : float
    """

    step: int
    loss: float
    lr: float
    grad_norm: float
    tokens: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class EvaluationMetrics:
    """One look at held-out text.

    Attributes
    ----------
    step : int
    loss : float
        Mean cross-entropy in nats a token.
    best : bool
        Whether it is the lowest so far.
    scores : dict of str to float
        Further numbers, such as an accuracy.
    """

    step: int
    loss: float
    best: bool
    scores: dict[str, float] = dataclasses.field(default_factory=dict)


class Callback:
    """Base of what watches a run; every method does nothing until it is overridden."""

    def on_start(self, trainer: Trainer) -> None:
        """Run before the first step."""

    def on_step_start(self, trainer: Trainer) -> None:
        """Run before the first forward pass of each optimiser step."""

    def on_gradients(self, trainer: Trainer) -> None:
        """Run when a step's gradients are whole, before they are clipped and used."""

    def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
        """Run after each optimiser step.

        Parameters
        ----------
        trainer : Trainer
        metrics : StepMetrics
        """

    def on_evaluation(self, trainer: Trainer, metrics: EvaluationMetrics) -> None:
        """Run after each evaluation, before the checkpoint is written.

        Parameters
        ----------
        trainer : Trainer
        metrics : EvaluationMetrics
        """

    def on_end(self, trainer: Trainer) -> None:
        """Run once at the end, also of a run that was interrupted or failed."""
