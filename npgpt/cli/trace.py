"""npgpt trace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from npgpt.cli.app import tells_errors
from npgpt.cli.model_argument import Checkpoint, check_checkpoint

if TYPE_CHECKING:
    from npgpt.models import GPT


@tells_errors
def trace_command(
    names: Annotated[
        bool,
        typer.Option("--names", help="List the names of all activations and gradients."),
    ] = False,
    model: Annotated[
        Path | None, typer.Option(metavar="RUN", help="A run folder of npgpt train.")
    ] = None,
    checkpoint: Checkpoint = "best",
) -> None:
    """List the names under which activations and gradients are recorded and edited.

    With the shape of each, of a run's model or of a small one.

    [bold]Examples[/bold]

      npgpt trace --names

      npgpt trace --names --model runs/python-docs-1
    """
    check_checkpoint(checkpoint)
    if not names:
        raise typer.BadParameter("give --names.")
    _list_names(model, checkpoint)


def _list_names(model: Path | None, checkpoint: str) -> None:
    from npgpt.gradients import tap_shapes

    shapes = tap_shapes(_small_model() if model is None else _open(model, checkpoint))
    width = max(map(len, shapes))
    for name, shape in shapes.items():
        print(f"{name:<{width}}  ({', '.join(map(str, shape))})")


def _small_model() -> GPT:
    from npgpt.models import GPT, GPTConfig

    return GPT(GPTConfig(256, 64, n_layers=2, n_heads=4, d_model=64))


def _open(run: Path, checkpoint: str) -> GPT:
    from npgpt.training import Run

    return Run.open(run).load_model(checkpoint)
