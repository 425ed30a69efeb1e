"""What npgpt train and npgpt finetune do alike with a run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from npgpt.cli.shared.console import console
from npgpt.cli.shared.pictures import drawn
from npgpt.interruption import INTERRUPTED
from npgpt.runs import Run
from npgpt.runs.folder import FLOW_PLOT, LOSS_PLOT
from npgpt.training import Trainer


def next_free_folder(name: str) -> Path:
    """Return runs/NAME-1, or the first number after it that is free."""
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder


def train(
    run: Run,
    resuming: bool,
    introduction: Callable[[Trainer], Sequence[str | Text]],
    go_on: str,
    sample: Callable[[Any], str] | None = None,
) -> None:
    """Train to the end, or exit as a signal asks for, with the run saved and drawn either way.

    Parameters
    ----------
    run : Run
    resuming : bool
        Take up the run's last checkpoint first.
    introduction : function
        From the trainer to lines that say what is trained on what.
    go_on : str
        The command that goes on after an interruption.
    sample : function, optional
        From the model to a text, shown at each evaluation.
    """
    from npgpt.cli.shared.progress import Stopwatch, TrainingProgress, compile_kernels

    watch = Stopwatch()
    compile_kernels(console, run.model_config)
    with console.status("Preparing the first step"):
        trainer = run.trainer([TrainingProgress(console, sample)])
        lines = introduction(trainer)
    for line in (*lines, f"Run folder: {run.folder}"):
        console.print(line, soft_wrap=True)
    if resuming:
        trainer.resume()
        console.print(f"Going on from step {trainer.state.step} of {trainer.steps}.")
    try:
        state = trainer.fit()
    finally:
        _draw(run)
    if trainer.stopped_by is not None and state.step < trainer.steps:
        console.print(
            f"Stopped at step {state.step} of {trainer.steps}; the run is saved. Go on with:"
        )
        console.print(f"  {go_on}", soft_wrap=True)
        raise typer.Exit(
            INTERRUPTED if trainer.stopped_by == signal.SIGINT else 128 + signal.SIGTERM
        )
    early = ", early" if trainer.is_stopped_early() else ""
    console.print(
        f"Done in {watch}{early}: held-out loss {state.best_loss:.3f} at step {state.best_step}."
    )


def _draw(run: Run) -> None:
    from npgpt.plots.flow import plot_flow_history
    from npgpt.plots.training import plot_loss

    metrics, flows, title = run.metrics, run.flows, f"npgpt: {run.folder.name}"
    if metrics:
        path = run.folder / LOSS_PLOT
        drawn(path, plot_loss, metrics, path, title, run.item)
    if flows:
        path = run.folder / FLOW_PLOT
        drawn(path, plot_flow_history, flows, path, title)
