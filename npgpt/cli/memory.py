"""npgpt info --memory."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import typer

from npgpt.cli.app import console
from npgpt.models.config import GPT2_SIZES, GPTConfig


def describe_memory(
    name: str,
    batch_size: int | None,
    time: int | None,
    recompute: bool | None,
    measure: bool,
    method: str = "full",
    rank: int = 8,
    generate: bool = False,
) -> None:
    """Print what a training step, or generation, takes, part by part; perhaps also what it took."""
    from rich.table import Table

    from npgpt.models import MemoryPlan
    from npgpt.runs import measure_generation, measure_step

    config, run_batch, run_recompute = _find(name)
    batch = batch_size or run_batch
    time = time or config.context_length
    recompute = run_recompute if recompute is None else recompute
    if time > config.context_length:
        raise typer.BadParameter(
            f"--time {time} is longer than the context of {config.context_length}."
        )
    if method not in PREPARE:
        raise typer.BadParameter(f"--method must be one of {', '.join(PREPARE)}, got {method}.")
    if generate:
        plan = MemoryPlan.of_generation(config, batch, time)
    else:
        plan = MemoryPlan.of(config, batch, time, recompute, method=method, rank=rank)
    libraries = _size_of_libraries(config)
    rows = [
        ("parameters", plan.parameters),
        ("gradients", plan.gradients),
        ("AdamW's two moments", plan.moments),
        ("saved for backward", plan.saved),
        ("working arrays", plan.working),
        ("logits" if generate else "a chunk of logits", plan.logits),
        ("cached keys and values", plan.cache),
        ("Python and its libraries", libraries),
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for part, size in rows:
        if size:
            table.add_row(part, _megabytes(size))
    table.add_section()
    predicted = plan.total + libraries
    table.add_row("peak, predicted", _megabytes(predicted), style="bold")
    what = "generation" if generate else "a training step"
    how = ", recomputing blocks" if recompute and not generate else ""
    trained = {"full": "", "last-block": " of the last block", "lora": f" of LoRA of rank {rank}"}
    console.print(
        f"{name}: {what}{trained[method]} of {batch} x {time} tokens in float32{how}",
        soft_wrap=True,
    )
    if measure:
        with console.status("Measuring a step in a process of its own"):
            if generate:
                measured = measure_generation(config, batch, time)
            else:
                measured = measure_step(config, batch, time, recompute, PREPARE[method](rank))
        table.add_row("peak, measured", _megabytes(measured))
        table.add_row("predicted / measured", f"{predicted / measured:.3f}")
    console.print(table)


def _lora(rank: int):
    from npgpt.finetuning import LoRAConfig, apply_lora

    return functools.partial(apply_lora, config=LoRAConfig(rank))


def _last_block(rank: int):
    from npgpt.finetuning.freezing import train_last_block

    return train_last_block


# of a method and LoRA's rank: what is done to a model before its first step
PREPARE = {"full": lambda rank: None, "last-block": _last_block, "lora": _lora}


def _find(name: str) -> tuple[GPTConfig, int, bool]:
    """Return the model's shape, and the batch size and recomputation that belong to it."""
    if name in GPT2_SIZES:
        return GPTConfig.gpt2(name), 4, False
    path = Path(name)
    if path.is_dir():
        from npgpt.runs import Run

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
    from npgpt.runs import resident_size

    compile_kernels(console, config)
    square = np.ones((1024, 1024), np.float32)
    ops.linear_forward(square, square)  # BLAS takes its buffers with the first large product
    del square
    return resident_size()


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
