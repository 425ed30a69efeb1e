"""Time and memory of a training step as the context and the model grow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import machine as limits
from benchmarks import report
from benchmarks.memory import peak_of_steps
from benchmarks.train import MIDDLE
from benchmarks.workers import take_turns, workers

CONTEXTS = (128, 256, 512, 1024, 2048, 4096)
SIZES = ((4, 128), (6, 256), (6, 384), (8, 512), (12, 768))  # layers, d_model
HEAD_SIZE = 64


def scaling(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    quick: Annotated[bool, typer.Option(help="Two points of each line, few tokens.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = report.RESULTS,
) -> None:
    """Measure steps against context (one sequence) and against the size of the model (4 x 64)."""
    report.needs_torch()
    machine = limits.measure(quick)
    report.console.print(str(machine))
    contexts, sizes = (CONTEXTS[:2], SIZES[:2]) if quick else (CONTEXTS, SIZES)
    # kernels are compiled now if they have to be: that takes memory too
    peak_of_steps("benchmarks.steps:npgpt_step", {"config": MIDDLE, "batch": 1, "time": 64}, 1)
    by_context, by_size = {}, {}
    for context in contexts:
        config = {**MIDDLE, "context_length": context}
        with report.console.status(f"Measuring context {context}"):
            by_context[context] = _measure(config, 1, context, 2 if quick else rounds)
    _print("context", by_context)
    _print_growth(by_context)
    for layers, d_model in sizes:
        config = {
            "vocab_size": 50257,
            "context_length": 64,
            "n_layers": layers,
            "n_heads": d_model // HEAD_SIZE,
            "d_model": d_model,
        }
        with report.console.status(f"Measuring {layers} layers, d_model {d_model}"):
            result = _measure(config, 4, 64, 2 if quick else rounds)
        by_size[result["parameters"]] = result
    _print("parameters", by_size)
    report.save("scaling", machine, {"context": by_context, "size": by_size}, out)
    for name, results in (("context", by_context), ("parameters", by_size)):
        for quantity, label in (("seconds", "seconds a step"), ("peak_memory", "peak bytes")):
            report.plot_lines(
                out / f"scaling-{name}-{quantity.replace('_', '-')}.png",
                f"A training step against {name}",
                (name, label),
                {
                    side: {x: report.median(r[quantity][side]) for x, r in results.items()}
                    for side in ("npgpt", "PyTorch eager")
                },
            )


def straight_line(points: Mapping[float, float]) -> tuple[float, float, float]:
    """Fit a straight line; return slope, intercept, and the largest deviation relative to it."""
    x, y = np.array(list(points), float), np.array(list(points.values()), float)
    slope, intercept = np.polyfit(x, y, 1)
    line = slope * x + intercept
    return float(slope), float(intercept), float(np.max(np.abs(y - line) / line))


def _measure(config: dict[str, Any], batch: int, time: int, rounds: int) -> dict[str, Any]:
    from npgpt.models import GPTConfig
    from npgpt.models.memory import num_parameters

    step = {"config": config, "batch": batch, "time": time}
    sides = {
        "npgpt": ("benchmarks.steps:npgpt_step", step),
        "PyTorch eager": ("benchmarks.steps:torch_step", {**step, "own_weights": True}),
    }
    with workers(sides) as started:
        seconds = take_turns(started, rounds)
        memory = {side: [float(worker.peak_memory())] for side, worker in started.items()}
    return {
        "parameters": num_parameters(GPTConfig(**config)),
        "seconds": seconds,
        "peak_memory": memory,
    }


def _print(name: str, results: Mapping[int, dict[str, Any]]) -> None:
    rows = []
    for x, result in results.items():
        ours, theirs = result["seconds"]["npgpt"], result["seconds"]["PyTorch eager"]
        memory = result["peak_memory"]
        rows.append(
            [
                f"{x:,}",
                f"{report.median(ours):.3f}",
                f"{report.median(theirs):.3f}",
                report.with_spread(report.ratios(ours, theirs)),
                f"{memory['npgpt'][0] / 1e6:,.0f}",
                f"{memory['PyTorch eager'][0] / 1e6:,.0f}",
            ]
        )
    columns = [name, "npgpt s", "PyTorch s", "npgpt is faster by", "npgpt MB", "PyTorch MB"]
    report.print_table(f"A training step against {name}", columns, rows)


def _print_growth(results: Mapping[int, dict[str, Any]]) -> None:
    for side in ("npgpt", "PyTorch eager"):
        points = {float(x): r["peak_memory"][side][0] for x, r in results.items()}
        slope, intercept, deviation = straight_line(points)
        report.console.print(
            f"{side}: {intercept / 1e6:,.0f} MB and {slope / 1e3:,.1f} kB a token; "
            f"at most {100 * deviation:.1f} % off that line"
        )
