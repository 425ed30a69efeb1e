"""metrics.jsonl: one JSON object a line, one line a step or an evaluation."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import IO, Any

from npgpt.files import write_atomically
from npgpt.training.callbacks import Callback, EvaluationMetrics, StepMetrics


class MetricsLog(Callback):
    """Append every step and evaluation to a file.

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
            if line["step"] <= (state.step if line["kind"] == "step" else state.evaluated_step)
        ]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  (closed by on_end)

    def on_step(self, trainer, metrics: StepMetrics) -> None:
        """Write a line."""
        self._write("step", metrics)

    def on_evaluation(self, trainer, metrics: EvaluationMetrics) -> None:
        """Write a line, and hand all lines to the system before the checkpoint is written."""
        self._write("evaluation", metrics)
        if self._file:
            self._file.flush()

    def on_end(self, trainer) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def _write(self, kind: str, metrics: StepMetrics | EvaluationMetrics) -> None:
        assert self._file is not None
        self._file.write(json.dumps({"kind": kind, **dataclasses.asdict(metrics)}) + "\n")


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
