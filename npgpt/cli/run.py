"""What npgpt train and npgpt finetune do alike with a run."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import typer

from npgpt.cli.app import INTERRUPTED, console


def next_free_folder(name: str) -> Path:
    """Return runs/NAME-1, or the first number after it that is free."""
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder


def fit(trainer, resuming: bool, draw: Callable[[], None], go_on: str):
    """Train to the end, or exit as a signal asks for, with the run saved and drawn either way.

    Parameters
    ----------
    trainer : Trainer
    resuming : bool
        Take up the run's last checkpoint first.
    draw : function
    go_on : str
        The command that goes on after an interruption.

    Returns
    -------
    TrainingState
    """
    if resuming:
        trainer.resume()
        console.print(f"Going on from step {trainer.state.step} of {trainer.steps}.")
    try:
        state = trainer.fit()
    finally:
        draw()
    if trainer.stopped_by is not None and state.step < trainer.steps:
        console.print(
            f"Stopped at step {state.step} of {trainer.steps}; the run is saved. Go on with:"
        )
        console.print(f"  {go_on}", soft_wrap=True)
        raise typer.Exit(
            INTERRUPTED if trainer.stopped_by == signal.SIGINT else 128 + signal.SIGTERM
        )
    return state
