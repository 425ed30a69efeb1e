"""gradient_flow.jsonl: how gradients flowed, every so many steps of a run."""

from __future__ import annotations

from pathlib import Path

from npgpt.gradients import Flow, FlowMeter
from npgpt.layers.core.taps import Listening
from npgpt.training.callbacks import StepMetrics
from npgpt.training.metrics import StepLog, read_metrics


class GradientFlowLog(StepLog):
    """Measure a `Flow` at the first step and then every ``every`` steps, and append it to a file.

    Training goes on bit for bit as without it. A measured step copies the weights once, and the
    step before it the gradients, for the update ratios and the cosines; both copies are gone after
    the step.

    Parameters
    ----------
    path : Path
    every : int
        At least 1.

    Notes
    -----
    Of a step that accumulates several batches, activations are those of the last batch. The cosine
    is missing where the step before was not seen: at step 1, and at the first after a resume.
    """

    def __init__(self, path: Path, every: int):
        super().__init__(path)
        if every < 1:
            raise ValueError(f"GradientFlowLog: every must be at least 1, got {every}.")
        self.every = every
        self._meter: FlowMeter | None = None
        self._listening: Listening | None = None

    def on_start(self, trainer) -> None:
        """Open the file."""
        super().on_start(trainer)
        self._meter = FlowMeter(trainer.model)

    def on_step_start(self, trainer) -> None:
        """Begin to listen, if this step is measured."""
        if self._is_due(trainer.state.step + 1):
            assert self._meter is not None
            self._listening = self._meter.activations().__enter__()

    def on_gradients(self, trainer) -> None:
        """Measure gradients, and remember what the next measurement compares with."""
        meter, step = self._meter, trainer.state.step + 1
        assert meter is not None
        if self._is_due(step):
            self._stop_listening()
            meter.read_gradients()
            meter.remember_weights()
        if self._is_due(step + 1):
            meter.remember_gradients()

    def on_step(self, trainer, metrics: StepMetrics) -> None:
        """Measure the update, and write a line."""
        if self._is_due(metrics.step):
            assert self._meter is not None
            self._meter.read_updates()
            self.write(self._meter.flow(metrics.step, trainer.grad_accumulation).to_dict())

    def on_end(self, trainer) -> None:
        """Close the file."""
        self._stop_listening()  # of a step that failed
        super().on_end(trainer)

    def _is_due(self, step: int) -> bool:
        return step == 1 or step % self.every == 0

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.__exit__()
            self._listening = None


def read_flows(path: Path) -> list[Flow]:
    """Read what a `GradientFlowLog` wrote; [] if there is no file.

    Parameters
    ----------
    path : Path
    """
    return [Flow.from_dict(line) for line in read_metrics(path)]
