"""Loading a GPT-2 from a folder: seconds, and peak memory, each time in a process of its own."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import machine as limits
from benchmarks import report
from benchmarks.decode_work import make_model
from benchmarks.train import GPT2_124M, SMALL
from benchmarks.workers import Worker

MB = 1e6


def npgpt_load(folder: str):
    """Load with npgpt; the work returns the seconds."""
    import npgpt

    def work() -> float:
        began = time.perf_counter()
        npgpt.GPT.from_pretrained(folder)
        return time.perf_counter() - began

    return work


def transformers_load(folder: str):
    """Load with transformers; the work returns the seconds."""
    import torch
    import transformers

    transformers.logging.disable_progress_bar()

    def work() -> float:
        began = time.perf_counter()
        transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return time.perf_counter() - began

    return work


def loading(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    quick: Annotated[bool, typer.Option(help="A small model, two rounds.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = report.RESULTS,
) -> None:
    """Load GPT-2 124M; the file is in the page cache, as after a download."""
    report.needs_torch()
    machine = limits.measure(quick)
    report.console.print(str(machine))
    results: dict[str, Any] = {
        side: {"seconds": [], "peak": []} for side in ("npgpt", "transformers")
    }
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        make_model(folder, SMALL if quick else GPT2_124M)
        results["model_bytes"] = (folder / "model.safetensors").stat().st_size
        for _ in range(2 if quick else rounds):
            for side in ("npgpt", "transformers"):
                seconds, peak = _load_once(f"benchmarks.loading:{side}_load", str(folder))
                results[side]["seconds"].append(seconds)
                results[side]["peak"].append(peak)
    size = results["model_bytes"]
    rows = [
        [
            side,
            report.with_spread(results[side]["seconds"]),
            f"{report.median(results[side]['peak']) / MB:,.0f}",
            f"{report.median(results[side]['peak']) / size:.2f}",
        ]
        for side in ("npgpt", "transformers")
    ]
    columns = ["side", "seconds", "peak MB of the process", "times the file"]
    report.print_table(f"Loading {size / MB:,.0f} MB", columns, rows)
    report.save("loading", machine, results, out)


def _load_once(factory: str, folder: str) -> tuple[float, int]:
    worker = Worker(factory, {"folder": folder})
    try:
        worker.ready()
        return worker.result(), worker.peak_memory()
    finally:
        worker.close()
