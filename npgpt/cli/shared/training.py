"""What npgpt train and npgpt finetune do alike with a run."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from npgpt.cli.shared.console import console
from npgpt.cli.shared.pictures import drawn
from npgpt.fields import names_of
from npgpt.interruption import INTERRUPTED
from npgpt.models import Model, ModelConfig
from npgpt.runs import Run
from npgpt.runs.folder import FLOW_PLOT, LOSS_PLOT
from npgpt.training import Trainer

# how an introduction says the shape, as far as a model has it
SHAPE_WORDS = {
    "n_layers": "{} layers",
    "n_heads": "{} heads",
    "d_model": "d_model {}",
    "context_length": "context {}",
}


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


def described(model: Model) -> str:
    """Say how large a model is, and in what it differs from its family's defaults."""
    config = model.config
    shape = [
        words.format(getattr(config, name))
        for name, words in SHAPE_WORDS.items()
        if name in names_of(type(config))
    ]
    return (
        f"{type(model).__name__} of {model.num_parameters():,} parameters: "
        + ", ".join(shape)
        + _choices(config)
    )


def _choices(config: ModelConfig) -> str:
    """Say in what a model differs from its family's defaults, if it does."""
    differing = [
        f"{field.name} {getattr(config, field.name)}"
        for field in dataclasses.fields(config)
        if field.default is not dataclasses.MISSING and getattr(config, field.name) != field.default
    ]
    return f"; {', '.join(differing)}" if differing else ""


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
