"""npgpt trace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from npgpt.cli.app import tells_errors
from npgpt.cli.shared.arguments import (
    MODEL_HELP,
    Checkpoint,
    Revision,
    check_checkpoint,
    open_argument,
)
from npgpt.cli.shared.console import console, error_console, read_input
from npgpt.cli.shared.options import numbers_of

if TYPE_CHECKING:
    from npgpt.models import GPT
    from npgpt.runs import OpenedModel
    from npgpt.tokenizers import Tokenizer


@tells_errors
def trace_command(
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The text; - reads it from standard input.")
    ] = None,
    names: Annotated[
        bool, typer.Option("--names", help="Only list the names of all activations, with shapes.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help=f"{MODEL_HELP}."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page to write.")] = Path(
        "trace.html"
    ),
    force: Annotated[
        bool, typer.Option("--force", help="Replace the page if it is there.")
    ] = False,
    layers: Annotated[
        str | None,
        typer.Option(
            help="Layers that carry heat maps: numbers as in 0,5,11, or all, or none.",
            show_default="all of up to 6; else the first, the middle, the last",
        ),
    ] = None,
    position: Annotated[
        int, typer.Option(help="Explain the prediction made here; -1 is the last token.")
    ] = -1,
    token: Annotated[
        str | None,
        typer.Option(help="Explain the logit of this token.", show_default="the likeliest"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of integrated gradients.")] = 64,
    checkpoint: Checkpoint = "best",
    revision: Revision = None,
) -> None:
    """Send a text through a model and back, and write all of it to one HTML page.

    The page shows the loss of each token, where a prediction comes from,
    how gradients flow, and the model as a diagram: each box opens to its
    equation, its code, and its values and gradients. It needs no network.

    With --names: list what can be recorded and edited, with shapes.

    [bold]Examples[/bold]

      npgpt trace "The with statement" --model runs/python-docs-1 --out trace.html

      npgpt trace - --model runs/python-docs-1 --layers 0,3 --force < text.txt

      npgpt trace --names --model runs/python-docs-1
    """
    check_checkpoint(checkpoint)
    if names:
        if text is not None:
            raise typer.BadParameter("give either a TEXT or --names, not both.")
        _list_names(model, checkpoint, revision)
        return
    if text is None:
        raise typer.BadParameter("give a TEXT to trace, or --names.")
    if model is None:
        raise typer.BadParameter("give a model: --model MODEL.")
    blocks = _blocks(layers)
    _check_page(out, force)
    opened = open_argument(model, checkpoint, revision)
    _write_page(_read(text), opened, out, blocks, position, token, steps)


def _check_page(out: Path, force: bool) -> None:
    """Refuse, before anything is computed, a page that could not be made."""
    from npgpt.trace.page import check_installed

    if out.exists() and not force:
        raise FileExistsError(
            f"{out} exists already; choose another file with --out, or replace it with --force."
        )
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"There is no folder {out.parent} to write {out.name} in.")
    check_installed()


def _write_page(
    text: str,
    opened: OpenedModel,
    out: Path,
    blocks: list[int] | str | None,
    position: int,
    token: str | None,
    steps: int,
) -> None:
    from npgpt.cli.shared.progress import progress_bar
    from npgpt.models.next_token import check_predicts_next
    from npgpt.trace import trace

    model, tokenizer = opened.model, opened.tokenizer
    check_predicts_next(model, "npgpt trace")
    if blocks == "all":
        blocks = list(range(model.config.n_layers))
    token_id = None if token is None else _token_id(tokenizer, token)
    with progress_bar(error_console, "Tracing") as on_progress:
        traced = trace(
            model,
            tokenizer,
            text,
            layers=blocks if isinstance(blocks, list) else None,
            position=position,
            token=token_id,
            steps=steps,
            name=opened.name,
            on_progress=on_progress,
        )
    traced.save(out)
    size = out.stat().st_size / 1e6
    console.print(
        f"{out}: {len(traced.predictions)} tokens, mean loss {traced.loss:.3f} nats, "
        f"heat maps of {len(traced.layers)} of {traced.n_layers} layers, {size:.1f} MB",
        soft_wrap=True,
    )


def _read(text: str) -> str:
    return read_input() if text == "-" else text


def _blocks(layers: str | None) -> list[int] | str | None:
    if layers is None or layers == "all":
        return layers
    if layers == "none":
        return []
    return numbers_of(layers, "--layers must be numbers such as 0,5,11, or all, or none")


def _token_id(tokenizer: Tokenizer, token: str) -> int:
    ids = tokenizer.encode(token)
    if len(ids) != 1:
        raise ValueError(f"--token {token!r} is {len(ids)} tokens of this model, not one.")
    return int(ids[0])


def _list_names(model: str | None, checkpoint: str, revision: str | None) -> None:
    from npgpt.gradients import tap_shapes
    from npgpt.text_table import text_table

    gpt = _small_model() if model is None else open_argument(model, checkpoint, revision).model
    shapes = tap_shapes(gpt).items()
    print(text_table((), [(name, f"({', '.join(map(str, shape))})") for name, shape in shapes]))


def _small_model() -> GPT:
    from npgpt.models import GPT, GPTConfig

    return GPT(GPTConfig(256, 64, n_layers=2, n_heads=4, d_model=64))
