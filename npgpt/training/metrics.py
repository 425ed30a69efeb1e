"""metrics.jsonl: one JSON object a line, one line a step or an evaluation."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import IO, Any

from npgpt.files import write_atomically
from npgpt.training.callbacks import Callback, EvaluationMetrics, StepMetrics

EVALUATION = "evaluation"


class StepLog(Callback):
    """Append lines of JSON to a file; each has a ``step``.

    A run that resumes drops the lines written after the checkpoint it resumes from, so that the
    file tells one story.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path):
        self.path = path
        self._file: IO[str] | None = None

    def on_start(self, trainer) -> None:
        """Drop what lies beyond the checkpoint, and open the file to append."""
        state = trainer.state
        kept = [
            line
            for line in read_metrics(self.path)
            if line["step"] <= (state.evaluated_step if _is_evaluation(line) else state.step)
        ]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  (closed by on_end)

    def on_evaluation(self, trainer, metrics: EvaluationMetrics) -> None:
        """Hand all lines to the system before the checkpoint is written.

        Parameters
        ----------
        trainer, metrics
            As for `Callback.on_evaluation`.
        """
        if self._file:
            self._file.flush()

    def on_end(self, trainer) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def write(self, line: dict[str, Any]) -> None:
        """Append one line."""
        assert self._file is not None
        self._file.write(json.dumps(line) + "\n")


class MetricsLog(StepLog):
    """Append every step and evaluation to ``metrics.jsonl``."""

    def on_step(self, trainer, metrics: StepMetrics) -> None:
        """Write a line.

        Parameters
        ----------
        trainer, metrics
            As for `Callback.on_step`.
        """
        self.write({"kind": "step", **dataclasses.asdict(metrics)})

    def on_evaluation(self, trainer, metrics: EvaluationMetrics) -> None:
        """Write a line, and hand all lines to the system.

        Parameters
        ----------
        trainer, metrics
            As for `Callback.on_evaluation`.
        """
        self.write({"kind": EVALUATION, **dataclasses.asdict(metrics)})
        super().on_evaluation(trainer, metrics)


def _is_evaluation(line: dict[str, Any]) -> bool:
    return line.get("kind") == EVALUATION


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a metrics file; [] if there is none.

    A last line that a kill cut short is left out.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of dict
        Each has ``kind`` ("step" or "evaluation"), ``step``, ``loss`` and more.
    """
    if not Path(path).is_file():
        return []
    lines = []
    for text in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
