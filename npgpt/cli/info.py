"""npgpt info."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from npgpt.cli.app import notes_for_warnings, tells_errors
from npgpt.cli.shared.arguments import MODEL_HELP
from npgpt.cli.shared.console import console
from npgpt.cli.shared.tables import plain_table
from npgpt.models import ModelConfig
from npgpt.models.config import GPT2_SIZES, GPTConfig
from npgpt.models.model import family_of
from npgpt.runs import FineTuningRun, PretrainingRun, Run, TranslationRun
from npgpt.runs.folder import CHECKPOINTS
from npgpt.version import __version__


@tells_errors
def info_command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help=f"{MODEL_HELP}; or a size of GPT-2 ({', '.join(GPT2_SIZES)})."
        ),
    ] = None,
) -> None:
    """Describe a model layer by layer; of a run, also its settings and how far it came.

    Without a model: the versions and the number of threads in use, for a bug report.

    [bold]Examples[/bold]

      npgpt info runs/python-docs-1

      npgpt info gpt2

      npgpt info
    """
    if model is None:
        _describe_installation()
        return
    if model in GPT2_SIZES and not Path(model).exists():
        _print_summary(GPTConfig.gpt2(model))
        return
    from npgpt import hub
    from npgpt.runs.open import find_run

    folder = hub.fetch(model)
    run = find_run(folder)
    if run is None:
        _describe_hugging_face(folder)
    else:
        _describe_run(run)


def _describe_installation() -> None:
    from importlib.metadata import version

    import numpy as np

    from npgpt import ops

    installed = ("numpy", "numba", "regex", "safetensors", "matplotlib")
    ops.gelu_tanh_forward(np.ones((2, 2), np.float32))  # starts the threads
    facts = {
        "npgpt": __version__,
        "Python": f"{platform.python_version()} on {platform.platform()}",
        **{package: version(package) for package in installed},
        "backend": ops.backend(),
        "threads": ops.get_num_threads(),
        **_facts_of_kernels(),
    }
    _print_facts(facts)


def _facts_of_kernels() -> dict[str, str]:
    from npgpt import ops

    if ops.backend() == "reference":
        return {"kernels": "none, because NUMBA_DISABLE_JIT is set"}
    import numba

    from npgpt.ops.compiled.blas import BLAS

    alone = ops.get_num_threads() == 1
    return {
        "BLAS": BLAS.name,
        "threading layer": "none, for one thread" if alone else numba.threading_layer(),
    }


def _describe_run(run: Run) -> None:
    console.print(console.styled(f"Run {run.folder}"), soft_wrap=True)
    _print_facts(run.config.to_dict() | _facts_of(run))
    steps = [line["step"] for line in run.metrics if line["kind"] == "step"]
    of_all = f" of {run.config.steps}" if isinstance(run, PretrainingRun | TranslationRun) else ""
    done = f": {max(steps, default=0)}{of_all} steps"
    console.print()
    console.print(console.styled("Progress", rest=done))
    evaluations = [line for line in run.metrics if line["kind"] == "evaluation"]
    if evaluations:
        best = min(evaluations, key=lambda line: line["loss"])
        console.print(f"best held-out loss {best['loss']:.4f} at step {best['step']}")
    for name, file in CHECKPOINTS.items():
        path = run.folder / file
        size = f"{path.stat().st_size / 1e6:,.1f} MB" if path.exists() else "not written yet"
        console.print(f"{name} checkpoint: {size}")
    _print_summary(run.model_config)


def _facts_of(run: Run) -> dict[str, Any]:
    """Return what a fine-tuning run knows beside its settings."""
    if not isinstance(run, FineTuningRun):
        return {}
    trained, whole = run.num_parameters()
    facts = {"parameters trained": f"{trained:,} of {whole:,}"}
    return {"labels": ", ".join(run.labels), **facts} if run.labels else facts


def _describe_hugging_face(folder: Path) -> None:
    from npgpt import hub
    from npgpt.models.pretrained import read_config
    from npgpt.runs.tokenizer import open_tokenizer

    arrays = hub.TensorFiles(folder)
    with notes_for_warnings():
        config = read_config(folder, arrays)
    files = arrays.files
    size = sum(file.path.stat().st_size for file in files)
    dtypes = sorted({tensor.dtype for file in files for tensor in file.tensors.values()})
    tokenizer = open_tokenizer(folder)
    console.print(console.styled(f"Model {folder}"), soft_wrap=True)
    facts = {
        "weights": f"{size / 1e6:,.1f} MB in {len(files)} files",
        "dtype of the files": ", ".join(dtypes),
        "tokenizer": f"{type(tokenizer).__name__}, {tokenizer.vocab_size:,} tokens",
    }
    _print_facts(config.to_dict() | facts)
    _print_summary(config)


def _print_facts(facts: dict[str, Any]) -> None:
    """Print names and values, without lines."""
    table = plain_table(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, f"{value:g}" if isinstance(value, float) else str(value))
    console.print(table)


def _print_summary(config: ModelConfig) -> None:
    from npgpt.layers.core.init import Init
    from npgpt.models.summary import Summary

    summary = Summary.of(family_of(type(config))(config, init=Init(fill=False)))
    table = Table(title="Model", title_style="bold", title_justify="left", box=None, pad_edge=False)
    for column in ("parameter", "layer", "shape"):
        table.add_column(column, overflow="fold")
    table.add_column("parameters", justify="right", overflow="fold")
    for row in summary.cells():
        table.add_row(*row)
    table.add_section()
    table.add_row("total", "", "", f"{summary.total:,}", style="bold")
    console.print()
    console.print(table)
