"""npgpt info --memory."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from npgpt.cli.app import console
from npgpt.models.config import GPT2_SIZES, GPTConfig


def describe_memory(
    name: str, batch_size: int | None, time: int | None, recompute: bool | None, measure: bool
) -> None:
    """Print what a training step takes, part by part; with ``measure``, also what one took."""
    from rich.table import Table

    from npgpt.models import MemoryPlan
    from npgpt.training import measure_step

    config, run_batch, run_recompute = _find(name)
    batch = batch_size or run_batch
    time = time or config.context_length
    recompute = run_recompute if recompute is None else recompute
    if time > config.context_length:
        raise typer.BadParameter(
            f"--time {time} is longer than the context of {config.context_length}."
        )
    plan = MemoryPlan.of(config, batch, time, recompute)
    libraries = _size_of_libraries(config)
    rows = [
        ("parameters", plan.parameters),
        ("gradients", plan.gradients),
        ("AdamW's two moments", plan.moments),
        ("saved for backward", plan.saved),
        ("working arrays", plan.working),
        ("a chunk of logits", plan.logits),
        ("Python and its libraries", libraries),
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for part, size in rows:
        table.add_row(part, _megabytes(size))
    table.add_section()
    predicted = plan.total + libraries
    table.add_row("peak, predicted", _megabytes(predicted), style="bold")
    console.print(
        f"{name}: a training step of {batch} x {time} tokens in float32"
        + (", recomputing blocks" if recompute else ""),
        soft_wrap=True,
    )
    if measure:
        with console.status("Measuring a step in a process of its own"):
            measured = measure_step(config, batch, time, recompute)
        table.add_row("peak, measured", _megabytes(measured))
        table.add_row("predicted / measured", f"{predicted / measured:.3f}")
    console.print(table)


def _find(name: str) -> tuple[GPTConfig, int, bool]:
    """Return the model's shape, and the batch size and recomputation that belong to it."""
    if name in GPT2_SIZES:
        return GPTConfig.gpt2(name), 4, False
    path = Path(name)
    if path.is_dir():
        from npgpt.training import Run

        run = Run.open(path)
        return run.model_config, run.config.batch_size, run.config.recompute
    if not path.exists():
        raise FileNotFoundError(
            f"--memory {name}: this is neither a GPT-2 size ({', '.join(GPT2_SIZES)}), nor a run "
            "folder, nor a JSON file."
        )
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file ({error}).") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{path} must hold an object with the fields of a GPTConfig.")
    return GPTConfig.from_dict(fields), 4, False


def _size_of_libraries(config: GPTConfig) -> int:
    """What this process holds with the kernels loaded and no model."""
    import numpy as np

    from npgpt import ops
    from npgpt.cli.progress import compile_kernels
    from npgpt.training import resident_size

    compile_kernels(console, config)
    square = np.ones((1024, 1024), np.float32)
    ops.linear_forward(square, square)  # BLAS takes its buffers with the first large product
    del square
    return resident_size()


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
