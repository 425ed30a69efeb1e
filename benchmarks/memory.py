"""Peak resident size of a training step, each side in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import machine as limits
from benchmarks import report
from benchmarks.train import GPT2_124M, SMALL
from benchmarks.workers import Worker

GIB = 2.0**30


def memory(
    compile: Annotated[bool, typer.Option(help="Also measure torch.compile.")] = True,
    quick: Annotated[bool, typer.Option(help="One small model.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = report.RESULTS,
) -> None:
    """Measure the peak memory of a training step."""
    report.needs_torch()
    machine = limits.measure(quick)
    report.console.print(str(machine))
    compile = compile and not quick
    # kernels are compiled now if they have to be: that takes memory too
    step = {"config": {**SMALL, "dropout": 0.1}, "batch": 1, "time": 64, "recompute": True}
    peak_of_steps("benchmarks.steps:npgpt_step", step, 1)
    cases = [(GPT2_124M, *shape) for shape in ((4, 64), (4, 256), (1, 1024))]
    results = []
    for model, batch, time in [(SMALL, 12, 64)] if quick else cases:
        for dropout in (0.0, 0.1):
            name = f"{'small' if quick else '124M'} {batch}x{time}, dropout {dropout}"
            with report.console.status(f"Measuring {name}"):
                results.append(_measure(name, {**model, "dropout": dropout}, batch, time, compile))
            _print(results[-1])
    report.save("memory", machine, results, out)
    report.plot_bars(
        out / "memory.png",
        "Peak memory of a training step",
        "GiB",
        {r["case"]: {k: v / GIB for k, v in r["peak_memory"].items()} for r in results},
    )


def peak_of_steps(factory: str, arguments: dict[str, Any], steps: int = 3) -> int:
    """Return the peak resident size of a new process that does some steps."""
    worker = Worker(factory, arguments)
    try:
        worker.ready()
        worker.run(steps)
        return worker.peak_memory()
    finally:
        worker.close()


def _measure(
    name: str, config: dict[str, Any], batch: int, time: int, compile: bool
) -> dict[str, Any]:
    from npgpt.models import GPTConfig, MemoryPlan

    step = {"config": config, "batch": batch, "time": time}
    theirs = {**step, "own_weights": True}
    sides = {
        "npgpt": ("benchmarks.steps:npgpt_step", step),
        "npgpt, recompute": ("benchmarks.steps:npgpt_step", {**step, "recompute": True}),
        "PyTorch eager": ("benchmarks.steps:torch_step", theirs),
    }
    if compile:
        sides["torch.compile"] = ("benchmarks.steps:torch_step", {**theirs, "compile": True})
    plan = MemoryPlan.of(GPTConfig(**config), batch, time)
    return {
        "case": name,
        "floor": plan.parameters + plan.gradients + plan.moments,
        "peak_memory": {side: peak_of_steps(*work) for side, work in sides.items()},
    }


def _print(result: dict[str, Any]) -> None:
    peaks, floor = result["peak_memory"], result["floor"]
    eager = peaks["PyTorch eager"]
    rows = [
        [
            side,
            f"{peak / GIB:.2f}",
            f"{peak / eager:.2f}",
            f"{(peak - floor) / GIB:.2f}",
            f"{(peak - floor) / (eager - floor):.2f}",
        ]
        for side, peak in peaks.items()
    ]
    title = (
        f"{result['case']}: weights, gradients and two moments take {floor / GIB:.2f} GiB on every "
        "side"
    )
    columns = ["side", "peak GiB", "of PyTorch eager", "beyond those GiB", "of PyTorch eager's"]
    report.print_table(title, columns, rows)
