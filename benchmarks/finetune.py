"""Full fine-tuning beside LoRA and the last block alone: time and memory of a step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import machine as limits
from benchmarks import report
from benchmarks.memory import GIB, peak_of_steps
from benchmarks.steps import BETAS, CLIP_NORM, LR, WEIGHT_DECAY
from benchmarks.train import GPT2_124M, SMALL
from benchmarks.workers import take_turns, workers

METHODS = ("full", "lora", "lora, attention", "last-block")
TARGETS = {"lora": ("*",), "lora, attention": ("attention.qkv", "attention.projection")}


def finetune_step(
    config: dict[str, Any], batch: int, time: int, method: str, rank: int = 8
) -> Callable[[], float]:
    """Make a step that trains everything, low-rank additions, or the last block."""
    import npgpt
    from npgpt.finetuning import LoRAConfig, apply_lora, train_only
    from npgpt.optim import AdamW
    from npgpt.training import train_step

    model = npgpt.GPT(npgpt.GPTConfig(**config), seed=0).train()
    if method in TARGETS:
        apply_lora(model, LoRAConfig(rank=rank, target_modules=TARGETS[method]))
    elif method == "last-block":
        train_only(model, [f"blocks.{config['n_layers'] - 1}.*", "final_norm.*"])
    optimizer = AdamW(model.parameters(), LR, BETAS, weight_decay=WEIGHT_DECAY)
    ids = np.random.default_rng(0).integers(0, config["vocab_size"], (batch, time + 1))
    npgpt.ops.Workspace().__enter__()  # until the process ends
    chosen = ids[:, :-1], ids[:, 1:]
    return lambda: train_step(model, optimizer, [chosen], CLIP_NORM)[0]


def finetune(
    batch: Annotated[int, typer.Option(min=1)] = 4,
    time: Annotated[int, typer.Option(min=1)] = 256,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    rank: Annotated[int, typer.Option(min=1, help="Of LoRA.")] = 8,
    quick: Annotated[bool, typer.Option(help="A small model, three rounds.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = report.RESULTS,
) -> None:
    """Compare what is trained of GPT-2 124M: all, LoRA on all maps or some, the last block."""
    machine = limits.measure(quick)
    report.console.print(str(machine))
    model = {**(SMALL if quick else GPT2_124M), "dropout": 0.0}
    batch, time, rounds = (2, 32, 3) if quick else (batch, time, rounds)
    step = {"config": model, "batch": batch, "time": time, "rank": rank}
    factory = "benchmarks.finetune:finetune_step"
    sides = {method: (factory, {**step, "method": method}) for method in METHODS}
    with workers(sides) as started:
        losses = {method: worker.result() for method, worker in started.items()}
        report.check_equal("the first step's loss", losses)
        seconds = take_turns(started, rounds, warm_up=1)
    memory = {method: peak_of_steps(*work, steps=2) for method, work in sides.items()}
    rows = [
        [
            method,
            f"{batch * time / report.median(seconds[method]):,.0f}",
            report.with_spread(report.ratios(seconds[method], seconds["full"])),
            f"{memory[method] / GIB:.2f}",
            f"{memory[method] / memory['full']:.2f}",
        ]
        for method in METHODS
    ]
    name = f"{'small' if quick else '124M'} {batch}x{time}"
    columns = ["trained", "tokens/s", "times full", "peak GiB", "of full"]
    report.print_table(f"{name}, {rounds} rounds, LoRA of rank {rank}", columns, rows)
    result = {"case": name, "rank": rank, "seconds": seconds, "peak_memory": memory}
    report.save("finetune", machine, [result], out)
