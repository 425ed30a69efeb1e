"""npgpt info."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from npgpt.cli.app import console, tells_errors
from npgpt.version import __version__

if TYPE_CHECKING:
    from npgpt.models import GPTConfig

MEMORY = "With --memory"


@tells_errors
def info_command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A run folder of npgpt train, a folder in Hugging Face's format, or a name on its "
            "hub.",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="CONFIG",
            help="Predict the memory of a training step of this model: a GPT-2 size (124M, 355M, "
            "774M, 1558M), a run folder, or a JSON file with the fields of a GPTConfig.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, show_default="the run's, or 4", help="Sequences.", rich_help_panel=MEMORY
        ),
    ] = None,
    time: Annotated[
        int | None,
        typer.Option(
            min=1,
            show_default="the context length",
            help="Tokens of each sequence.",
            rich_help_panel=MEMORY,
        ),
    ] = None,
    recompute: Annotated[
        bool | None,
        typer.Option(
            help="Compute each block again for backward.",
            show_default="the run's, or no-recompute",
            rich_help_panel=MEMORY,
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="What is trained, as of npgpt finetune: full, last-block or lora.",
            rich_help_panel=MEMORY,
        ),
    ] = "full",
    rank: Annotated[int, typer.Option(min=1, help="Of LoRA.", rich_help_panel=MEMORY)] = 8,
    generate: Annotated[
        bool,
        typer.Option("--generate", help="Not training, but generation.", rich_help_panel=MEMORY),
    ] = False,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Do it and compare.", rich_help_panel=MEMORY),
    ] = False,
) -> None:
    """Describe a model layer by layer; of a run, also its settings and how far it came.

    Without a model: the versions and the number of threads in use, for a bug report.
    With --memory: the memory that a training step, or generation, takes at its peak.

    [bold]Examples[/bold]

      npgpt info runs/python-docs-1

      npgpt info gpt2

      npgpt info --memory 124M --batch-size 4 --time 256

      npgpt info --memory 124M --method lora --measure

      npgpt info --memory 124M --batch-size 8 --generate

      npgpt info
    """
    if memory is not None:
        from npgpt.cli.memory import describe_memory

        if model is not None:
            raise typer.BadParameter("give either a MODEL or --memory CONFIG, not both.")
        describe_memory(memory, batch_size, time, recompute, measure, method, rank, generate)
        return
    given = (batch_size, time, recompute, measure, method, rank, generate)
    if given != (None, None, None, False, "full", 8, False):
        raise typer.BadParameter(
            "--batch-size, --time, --recompute, --method, --rank, --generate and --measure go with "
            "--memory CONFIG."
        )
    if model is None:
        _describe_installation()
        return
    from npgpt import hub
    from npgpt.runs.open import is_run

    folder = hub.fetch(model)
    if is_run(folder):
        _describe_run(folder)
    else:
        _describe_hugging_face(folder)


def _describe_installation() -> None:
    from importlib.metadata import version

    import numpy as np

    import npgpt
    from npgpt import ops

    threads = npgpt.get_num_threads()
    import numba

    from npgpt.ops.compiled.blas import BLAS

    table = two_columns()
    table.add_row("npgpt", __version__)
    table.add_row("Python", f"{platform.python_version()} on {platform.platform()}")
    for package in ("numpy", "numba", "regex", "safetensors", "matplotlib"):
        table.add_row(package, version(package))
    table.add_row("backend", ops.backend())
    table.add_row("threads", str(threads))
    table.add_row("BLAS", BLAS.name)
    ops.gelu_tanh_forward(np.ones((2, 2), np.float32))  # starts the threads
    table.add_row("threading layer", numba.threading_layer())
    console.print(table)


def _describe_run(run_folder: Path) -> None:
    from npgpt.runs import Run
    from npgpt.runs.pretraining import CHECKPOINTS

    run = Run.open(run_folder)
    settings = two_columns()
    for key, value in run.config.to_dict().items():
        settings.add_row(key, f"{value:g}" if isinstance(value, float) else str(value))
    console.print(f"[bold]Run {run.folder}[/bold]", soft_wrap=True)
    console.print(settings)

    metrics = run.metrics
    evaluations = [line for line in metrics if line["kind"] == "evaluation"]
    steps = [line for line in metrics if line["kind"] == "step"]
    done = steps[-1]["step"] if steps else 0
    console.print(f"\n[bold]Progress[/bold]: {done} of {run.config.steps} steps")
    if evaluations:
        best = min(evaluations, key=lambda line: line["loss"])
        console.print(f"best held-out loss {best['loss']:.4f} at step {best['step']}")
    for name, file in CHECKPOINTS.items():
        path = run.folder / file
        size = f"{path.stat().st_size / 1e6:,.1f} MB" if path.exists() else "not written yet"
        console.print(f"{name} checkpoint: {size}")

    _print_summary(run.model_config)


def _describe_hugging_face(folder: Path) -> None:
    from npgpt import hub
    from npgpt.models.pretrained import read_config
    from npgpt.runs.open import open_tokenizer

    config = read_config(folder)
    files = hub.TensorFiles(folder)
    settings = two_columns()
    for key, value in config.to_dict().items():
        settings.add_row(key, f"{value:g}" if isinstance(value, float) else str(value))
    paths = {tensor.path: tensor.path.stat().st_size for tensor in files.tensors.values()}
    settings.add_row("weights", f"{sum(paths.values()) / 1e6:,.1f} MB in {len(paths)} files")
    dtypes = sorted({tensor.dtype for tensor in files.tensors.values()})
    settings.add_row("dtype of the files", ", ".join(dtypes))
    tokenizer = open_tokenizer(folder)
    settings.add_row("tokenizer", f"{type(tokenizer).__name__}, {tokenizer.vocab_size:,} tokens")
    console.print(f"[bold]Model {folder}[/bold]", soft_wrap=True)
    console.print(settings)
    _print_summary(config)


def _print_summary(config: GPTConfig) -> None:
    from npgpt.layers import Init
    from npgpt.models import GPT

    summary = GPT(config, init=Init(fill=False)).summary()
    table = Table(title="Model", title_style="bold", title_justify="left", box=None, pad_edge=False)
    for column in ("parameter", "layer", "shape"):
        table.add_column(column)
    table.add_column("parameters", justify="right")
    for row in summary.cells():
        table.add_row(*row)
    table.add_section()
    table.add_row("total", "", "", f"{summary.total:,}", style="bold")
    console.print()
    console.print(table)


def two_columns() -> Table:
    """Make a table of names and values, without lines."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    return table
