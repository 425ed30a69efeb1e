"""The attention core against ``scaled_dot_product_attention``, by context and head size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import machine as limits
from benchmarks import report
from benchmarks.attention_work import task_name
from benchmarks.workers import repetitions_for, take_turns, workers

D_MODEL = 768
CONTEXTS, HEAD_SIZES = (64, 256, 1024, 4096), (16, 32, 64, 128)
SIDES: dict[str, tuple[str, dict[str, Any]]] = {
    "npgpt": ("benchmarks.attention_work:npgpt_attention", {}),
    "PyTorch": ("benchmarks.attention_work:torch_attention", {}),
}
PARTS = {"forward": 4.0, "both": 14.0}  # multiplications and additions for each score and feature


def attention(
    rounds: Annotated[int, typer.Option(min=1)] = 9,
    quick: Annotated[bool, typer.Option(help="Few tokens, contexts 64 and 256.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = report.RESULTS,
) -> None:
    """Time the attention core, forward and back, without the linear maps around it."""
    report.needs_torch()
    machine = limits.measure(quick)
    report.console.print(str(machine))
    contexts = CONTEXTS[:2] if quick else CONTEXTS
    cases = [(context, size, 0.0) for context in contexts for size in HEAD_SIZES]
    cases += [(context, 64, 0.1) for context in contexts[1:3]]
    results = []
    with workers(SIDES) as sides:
        for context, head_size, p in cases:
            tokens = max(1024 if quick else 4096, context)
            shape = (tokens // context, D_MODEL // head_size, context, head_size)
            with report.console.status(f"Measuring context {context}, head size {head_size}"):
                results.append(_measure(sides, shape, p, 3 if quick else rounds))
    for part in PARTS:
        _print(part, results, machine.sgemm)
    report.save("attention", machine, results, out)
    report.plot_bars(
        out / "attention.png",
        "Attention core, forward and backward, relative to PyTorch",
        "times PyTorch",
        {
            f"context {r['shape'][2]}, head size {r['shape'][3]}"
            + (f", dropout {r['dropout']}" if r["dropout"] else ""): {
                "PyTorch": 1.0,
                "npgpt": report.median(report.ratios(r["both"]["npgpt"], r["both"]["PyTorch"])),
            }
            for r in results
        },
    )


def _measure(sides, shape: tuple[int, int, int, int], p: float, rounds: int) -> dict[str, Any]:
    result: dict[str, Any] = {"shape": shape, "dropout": p}
    for part in PARTS:
        task = task_name(shape, p, part)
        if p == 0.0:
            report.check_equal(task, {name: side.result(task) for name, side in sides.items()})
        repetitions = repetitions_for(sides["PyTorch"].run(1, task))
        result[part] = take_turns(sides, rounds, repetitions, task=task)
    return result


def _print(part: str, results: list[dict[str, Any]], peak: float) -> None:
    rows = []
    for result in results:
        batch, heads, context, head_size = result["shape"]
        ours, theirs = result[part]["npgpt"], result[part]["PyTorch"]
        # a causal core needs half of the scores
        flops = PARTS[part] * batch * heads * head_size * context**2 / 2
        rate = flops / report.median(ours)
        dropout = f", dropout {result['dropout']}" if result["dropout"] else ""
        rows.append(
            [
                f"{context} x {head_size}{dropout}",
                f"{1e3 * report.median(ours):.2f}",
                f"{1e3 * report.median(theirs):.2f}",
                report.with_spread(report.ratios(ours, theirs)),
                f"{rate / 1e9:.0f}",
                f"{rate / peak:.2f}",
            ]
        )
    title = "forward" if part == "forward" else "forward and backward"
    columns = ["context x head size", "npgpt ms", "PyTorch ms", "npgpt is faster by"]
    columns += ["GFLOP/s", "of sgemm peak"]
    report.print_table(f"Attention core, {title}", columns, rows)
